"""Which of a processor's instructions torch computes with: the settings that numbers must bear.

Other instructions, and another number of threads, add the same numbers in another order. The last
digits differ then, and no test and no sentence of a lab may hang on them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

QUESTION = "import torch; print(torch.backends.cpu.get_cpu_capability())"


@dataclass(frozen=True)
class Kernels:
    """One setting: its name for people, and the environment variables that make it.

    torch reads them once, when it starts: each setting needs a process of its own.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_threads(self, count: int) -> Kernels:
        """The same in so many threads."""
        words = f"{self.name}, {count} thread{'s' if count > 1 else ''}"
        return Kernels(words, {**self.variables, "OMP_NUM_THREADS": str(count)})


OWN = Kernels("the machine's own kernels")
PLAIN = Kernels("plain kernels", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"})
AVX2 = Kernels("AVX2 kernels", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"})

# What a processor can show beside its own best, as torch names that.
_FOREIGN = {"AVX512": (PLAIN, AVX2), "AVX2": (PLAIN,), "DEFAULT": ()}


def foreign(own: str) -> tuple[Kernels, ...]:
    """The settings that a machine can show although they are not its own.

    >>> [one.name for one in foreign("AVX512")]
    ['plain kernels', 'AVX2 kernels']
    """
    return _FOREIGN.get(own, (PLAIN,))  # other makes of processors have plain kernels too


def best(python: str | Path) -> str:
    """The best instructions that this machine has, as torch names them."""
    reply = subprocess.run([python, "-c", QUESTION], capture_output=True, text=True, check=True)
    return reply.stdout.strip()
