#!/usr/bin/env python3
"""Watch a detector learn drawn objects in a few minutes: `tools/demo.py`, or `make demo` with nothing installed."""

import sys

from detkit.cli.demo import main

sys.exit(main())
