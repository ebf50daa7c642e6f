#!/usr/bin/env python3
"""Weights, whoever wrote them: `tools/weights.py inspect yolov8n.pt`, `tools/weights.py convert yolov8n.pt yolov8n.ckpt`."""

import sys

from detkit.cli.weights import main

sys.exit(main())
