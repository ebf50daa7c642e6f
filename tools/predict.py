#!/usr/bin/env python3
"""Annotated pictures and JSON: `tools/predict.py runs/yolo11n/0/best.ckpt photographs/`."""

import sys

from detkit.cli.predict import main

sys.exit(main())
