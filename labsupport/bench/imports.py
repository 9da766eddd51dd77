"""How much longer than PyTorch and torchvision themselves our modules take to be imported."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from labsupport.bench._contest import HEADING, Contest, hold, machine, text


def bench() -> None:
    """Print the ratios, each import in a fresh interpreter."""
    print(machine())
    print(HEADING)
    bare = "import torch, torchvision"
    for ours in ("from labsupport import networks", "from labsupport import images"):
        contest = Contest(ours, partial(_fresh, ours), {bare: partial(_fresh, bare)}, {bare: 0.91})
        for line in hold(contest):
            print(text(line), flush=True)


def _fresh(statement: str) -> None:
    subprocess.run([sys.executable, "-c", statement], check=True)
