"""A training run from its config to its folder: what is trained, what it leaves, and what reads that again."""
