#!/usr/bin/env python3
"""Ten rounds of tests/kill/kill.py; `make test-kill` runs two hundred."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kill  # noqa: E402

sys.argv[1:] = ['10']
kill.main()
