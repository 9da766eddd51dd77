"""These tests share the laws' table of methods, and the toy networks of the core's tests."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("robustness", "laws", "core", "notebooks")]
