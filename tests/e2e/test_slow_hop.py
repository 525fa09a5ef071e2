#!/usr/bin/env python3
"""tests/long/slow_hop.py with few messages and no patience; `make test-long` has the large one."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'long'))
import slow_hop  # noqa: E402

slow_hop.main(200, 0)
