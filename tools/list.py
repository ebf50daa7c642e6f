#!/usr/bin/env python3
"""The registered parts, with their fields: `tools/list.py block`."""

import sys

from detkit.cli.list import main

sys.exit(main())
