"""Measurements behind every figure that the documentation quotes: ``python -m benchmarks.<name>``, JSON out."""
