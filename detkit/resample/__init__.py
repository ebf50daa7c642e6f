"""Upsampling and downsampling between levels."""
