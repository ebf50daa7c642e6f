#!/usr/bin/env python3
"""A training step that broke, taken again: `tools/replay.py runs/yolo11n/0/broken/step-000123.pt`."""

import sys

from detkit.cli.replay import main

sys.exit(main())
