"""Oracles: where a candidate's true energy comes from, behind one Protocol."""
