"""Ray at the edge: actors that generate, rank and validate."""
