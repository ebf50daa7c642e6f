#!/usr/bin/env python3
"""New splits of a data set, without copies of its images: `tools/split_data.py ~/mydata ~/mydata-dealt --val 0.1`."""

import sys

from detkit.cli.split_data import main

sys.exit(main())
