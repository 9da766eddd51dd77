"""How much longer than PyTorch and torchvision themselves our modules take to be imported."""

import subprocess
import sys
from functools import partial

from contest import Contest, Peer, race


def bench() -> None:
    """Print the ratios, each import in a fresh interpreter."""
    bare = "import torch, torchvision"
    race(
        Contest(ours, partial(_fresh, ours), {bare: Peer(partial(_fresh, bare), 0.91)})
        for ours in ("from labsupport import networks", "from labsupport import images")
    )


def _fresh(statement: str) -> None:
    subprocess.run([sys.executable, "-c", statement], check=True)
