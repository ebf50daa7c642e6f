#!/usr/bin/env python3
"""A part of yours, run through its whole contract: `tools/check_module.py my_block.py:MyBlock`."""

import sys

from detkit.cli.check_module import main

sys.exit(main())
