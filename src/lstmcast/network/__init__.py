"""The network: one description, one set of parameters, two engines that run it."""
