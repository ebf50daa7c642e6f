#!/usr/bin/env python3
"""What a file of weights holds, whoever wrote it: `tools/weights.py inspect yolov8n.pt`."""

import sys

from detkit.cli.weights import main

sys.exit(main())
