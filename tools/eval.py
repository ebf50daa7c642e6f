#!/usr/bin/env python3
"""COCO's numbers of a checkpoint: `tools/eval.py runs/yolo11n/0/best.ckpt`."""

import sys

from detkit.cli.eval import main

sys.exit(main())
