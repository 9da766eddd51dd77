"""What all tests share: threads, a backend without a screen, one Hypothesis profile."""

import ctypes
import gc
import os
import sys
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

# Set before torch, matplotlib or a notebook's kernel starts; all of them inherit it. Where
# several processes share the tests, each has its share of the cores.
os.environ["OMP_NUM_THREADS"] = str(
    min(
        int(os.environ.get("OMP_NUM_THREADS", "2")),
        max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))),
    )
)
# A thread that waits for another sleeps: on cores that are busy, those that spin took ten times
# the processor's time for the same two-threaded steps.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
os.environ.setdefault("MPLBACKEND", "agg")
# Else each process and each kernel compiles the package and these tests anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
from hypothesis import HealthCheck, settings

sys.dont_write_bytecode = False

# The same cases on every machine, and no failure because a busy machine was slow.
settings.register_profile(
    "workbook",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("workbook")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Examples in docstrings are the package's: other files here need not be loaded for them."""
    is_code = collection_path.suffix == ".py" and not collection_path.name.startswith("test_")
    return True if is_code and Path(__file__).parent in collection_path.parents else None


# What takes minutes is begun first, or at the end one process would wait for another. That is also
# when these processes are small: a notebook's kernel and the browser have their own memory.
LONG = ("test_notebook_runs_whole", "tests/browser/", "test_gate[")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def in_order(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """Each process begins with its share of a row: its long tests first, one browser for all of
    them, then neighbours, which share their networks."""
    notebooks, browser, gates = ([item for item in items if word in item.nodeid] for word in LONG)
    rest = iter([item for item in items if not any(word in item.nodeid for word in LONG)])
    order = []
    for number in range(processes):
        last = number == processes - 1
        mine = [*notebooks[number::processes], *(gates + browser if last else [])]
        wanted = len(items) * (number + 1) // processes - len(order)
        order += [*mine, *islice(rest, max(0, wanted - len(mine)))]
    return [*order, *rest]


ROOM = 1_500 * 2**20  # bytes; beyond, what nobody holds any more is freed
_next = ROOM


def pytest_runtest_teardown() -> None:
    """Keep a process as small as a laptop's share: beyond that, forget what past tests made.

    Networks and graphs hold each other, and Python looks for such circles by the number of objects,
    not by the half gigabyte that one may have; the package remembers results for people who come
    back; and the system's allocator keeps what is free.
    """
    global _next
    if memory() > _next:
        for module in [one for name, one in sys.modules.items() if name.startswith("labsupport")]:
            for remembered in vars(module).values():
                getattr(remembered, "cache_clear", lambda: None)()
        gc.collect()
        with suppress(OSError, AttributeError):  # other systems have no such call
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        _next = max(ROOM, memory() + 2**28)


def memory() -> int:
    """The bytes that this process holds; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def one_thread():
    """For thousands of tiny operations: two threads would mostly wait for each other, above all
    on a machine that has other work."""
    import torch

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(cores)


@pytest.fixture
def measured(record_property):
    """`measured(words)`: a figure for people, printed at the end, whichever process took it."""
    return partial(record_property, "measured")


def pytest_terminal_summary(terminalreporter):
    """Print what the tests have measured: it is no part of any verdict."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    words = [value for one in reports for name, value in one.user_properties if name == "measured"]
    if words:
        terminalreporter.section("measured", "-")
        terminalreporter.write("\n".join(sorted(dict.fromkeys(words))) + "\n")
