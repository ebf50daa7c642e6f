"""Training and evaluation on Lightning; its only importer."""
