#!/usr/bin/env python3
"""What detectors cost, side by side: `tools/profile.py configs/yolo11n.py configs/yolo11_hrami.py`.

Python's own `profile`, which PyTorch imports when it compiles, is looked for in the folder of the running script first. So
this file leaves the search path when it runs, and stands in for the library when it is imported.
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    sys.path.pop(0)
    from detkit.cli.profile import main

    sys.exit(main())

library = importlib.util.spec_from_file_location(__name__, Path(sysconfig.get_path("stdlib")) / "profile.py")
library.loader.exec_module(sys.modules[__name__])
