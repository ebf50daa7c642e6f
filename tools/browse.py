#!/usr/bin/env python3
"""Augmented training images, before and after: `tools/browse.py configs/yolo11n.py`."""

import sys

from detkit.cli.browse import main

sys.exit(main())
