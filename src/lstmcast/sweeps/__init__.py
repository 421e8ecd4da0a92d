"""Sweeps: a spec names points in a space of configs; each becomes an ordinary run, on this machine or on a cluster."""
