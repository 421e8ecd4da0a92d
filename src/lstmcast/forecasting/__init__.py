"""Forecasts: rollouts, baselines, metrics, the verdict."""
