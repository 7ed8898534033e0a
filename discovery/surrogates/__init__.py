"""Surrogates: formation energy from composition, with uncertainty, behind one Protocol."""
