"""Hosts of blocks: one module that maps a level to a level."""
