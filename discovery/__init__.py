"""Closed-loop discovery of inorganic materials: the domain, in plain Python."""

__version__ = "0.1.0"
