"""Reading, converting and loading weights."""

from detkit.weights.load import load_weights
from detkit.weights.report import Report

__all__ = ["Report", "load_weights"]
