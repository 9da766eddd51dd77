"""The laws on a second device, in a process of their own.

torch counts its devices at its first backward pass, and a device that is announced later has no
place there; nor shall the other tests run with a device that is none.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cases import CALLS

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_made_on_the_wrong_device(measured):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    apart = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [*command, str(HERE / "on_second_device.py")],
        cwd=HERE.parents[1],
        env=apart,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 2 * len(CALLS)
    assert "skipped" not in done.stdout
    measured(f"on a second device: {len(CALLS)} methods on two networks, {passed} tests")
