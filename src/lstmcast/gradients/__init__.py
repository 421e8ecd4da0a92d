"""The proof of this package's own gradients: the oracles, the check of a config's network, and the trace of a step."""
