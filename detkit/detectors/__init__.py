"""Detectors composed of backbone, top, neck, remixers, head and criterion."""
