"""Ray Tune over the models of the discovery loop."""
