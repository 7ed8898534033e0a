"""Generators of compositions: language models and baselines behind one Protocol."""
