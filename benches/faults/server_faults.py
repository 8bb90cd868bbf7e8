"""Faults of servers that answer badly."""

SCENARIOS = []
