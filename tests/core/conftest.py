"""The core's tests, the methods' tests and the laws share their toy networks."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
