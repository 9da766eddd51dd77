"""The notebooks' tests share their rules, and know the template's exercises."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ.setdefault("LABS_EXERCISES", str(HERE))
