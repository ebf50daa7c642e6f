"""Shared primitives of the networks."""
