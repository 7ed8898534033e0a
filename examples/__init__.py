"""Short programs that use the discovery loop from outside."""
