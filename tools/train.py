#!/usr/bin/env python3
"""Train a config, or go on with a run: `tools/train.py configs/yolo11n.py data.root=~/mydata`."""

import sys

from detkit.cli.train import main

sys.exit(main())
