"""Faults of the network, names and certificates."""

SCENARIOS = []
