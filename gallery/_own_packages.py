"""The guard of the names `data` and `inference`, imported before all other modules of the gallery."""

import os
import runpy
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

if sys.argv[:1] == ["-m"] and "gallery" in sys.orig_argv and sys.path[0] == os.getcwd() != _ROOT:
    del sys.path[0]  # `python -m gallery` imports no files of the working folder, like the command `gallery`

runpy.run_path(os.path.join(_ROOT, "data", "_names.py"))["check_names"](("data", "inference"), needed=True)
