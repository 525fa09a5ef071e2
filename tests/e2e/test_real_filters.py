#!/usr/bin/env python3
"""tests/filters/real.py with opendkim, and ClamAV's milter with clamd; `make test-filters` has rspamd, too."""
import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parent.parent / 'filters/real.py'))
