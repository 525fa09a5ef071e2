#!/usr/bin/env python3
"""tests/long/fairness.py with a small flood; `make test-long` has the large one."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'long'))
import fairness  # noqa: E402

fairness.main(800)
