"""Known phases: what a new compound has to compete with, and what counts as new."""
