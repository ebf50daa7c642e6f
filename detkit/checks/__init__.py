"""The contract harness: what every part must hold, checked case by case."""
