#!/usr/bin/env python3
"""What is wrong with a data set, before it is trained on: `tools/check_data.py ~/mydata`."""

import sys

from detkit.cli.check_data import main

sys.exit(main())
