"""COCO's metric."""
