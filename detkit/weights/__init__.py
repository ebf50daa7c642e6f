"""Reading, converting and loading weights."""

from detkit.weights.load import load_weights
from detkit.weights.read import Weights, read
from detkit.weights.report import Report

__all__ = ["Report", "Weights", "load_weights", "read"]
