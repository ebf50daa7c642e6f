"""detkit: object detection on PyTorch Lightning in which every module fits every slot."""

__version__ = "0.1.0"
