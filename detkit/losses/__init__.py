"""Losses, assigners and criteria."""
