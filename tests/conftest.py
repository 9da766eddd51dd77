"""What all tests share: threads, a backend without a screen, one Hypothesis profile."""

from __future__ import annotations

import os

# Set before torch, matplotlib or a notebook's kernel starts; all of them inherit it.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("MPLBACKEND", "agg")

from hypothesis import HealthCheck, settings

# The same cases on every machine, and no failure because a busy machine was slow.
settings.register_profile(
    "workbook",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("workbook")
