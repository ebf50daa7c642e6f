"""Data sets, augmentation and loading."""
