#!/usr/bin/env python3
"""A data set in another format: `tools/convert_data.py ~/mydata ~/mydata_yolo --to yolo`."""

import sys

from detkit.cli.convert_data import main

sys.exit(main())
