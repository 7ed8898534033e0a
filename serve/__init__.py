"""The discovery loop over HTTP."""
