#!/usr/bin/env python3
"""Five rounds of tests/kill/kill_queue.py; `make test-kill` runs two hundred."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import kill_queue  # noqa: E402

kill_queue.main(5)
