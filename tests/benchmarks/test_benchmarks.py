"""Benchmarks are raced one by one, and end in one table."""

import importlib.util
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import contest
import pytest
import table
from contest import Contest, Peer, hold
from table import Section

from labsupport.commands import bench

HERE = {"measured": "today", "CPU": "a toy"}

TOYS = {
    "quick": """
import time
from contest import Contest, Peer, race

def fall():
    raise RuntimeError("on its nose")

def gone():
    import a_package_that_is_not_there

def bench():
    nap = lambda: time.sleep(0.002)
    late = {"a late riser": Peer(lambda: time.sleep(0.02), 1.5), "a ghost": Peer(gone, 1.5)}
    race((
        Contest("falling", fall, {"anybody": Peer(nap, 1.5)}),
        Contest("napping", nap, late, rounds=3),
    ))
""",
    "broken": "def bench():\n    raise OSError('no toys')\n",
    "dying": "import os\n\ndef bench():\n    os._exit(9)\n",
}

spec = importlib.util.spec_from_file_location("racing", Path(__file__).with_name("__main__.py"))
assert spec
assert spec.loader
racing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(racing)


def measure(*words: str) -> int:
    """What the command starts, with these words."""
    parser = ArgumentParser()
    bench.add_arguments(parser)
    return racing.main(parser.parse_args(words))


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Benchmarks that take no time, collected and raced like the real ones."""
    for name, source in TOYS.items():
        (tmp_path / f"race_{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setattr(table, "machine", lambda: dict(HERE))
    return tmp_path


def test_a_name_is_raced_alone_and_without_one_all_are(toys, monkeypatch, capsys):
    row = {"dying": "falls  failed: again"}
    race = lambda name: Section(name, 0.0, (row.get(name, "toy  2.00x  reached"),))  # noqa: E731
    monkeypatch.setattr(racing, "race", race)
    assert measure("quick", "--keep", str(toys / "one.txt")) == 0
    one = (toys / "one.txt").read_text(encoding="utf-8")
    assert "a toy" in one
    assert "quick (0 s)" in one
    assert measure() == 1
    whole = capsys.readouterr().out.rpartition("CPU ")[2]
    assert [whole.count(f"{name} (0 s)") for name in ("broken", "dying", "quick")] == [1, 1, 1]
    assert whole.endswith("2 reached, 0 below, 1 not measured\n")


@pytest.mark.slow
def test_what_fails_or_is_missing_is_reported_and_the_rest_goes_on(toys, capfd):
    kept = toys / "bench.txt"
    assert measure("--keep", str(kept)) == 1
    table = kept.read_text(encoding="utf-8")
    assert "with status 1" in table  # the broken one's own words stand above, where it ran
    assert "with status 9" in table
    falling, ghost, napping = (
        line for line in table.splitlines() if line.strip().startswith(("falling", "napping"))
    )
    assert "failed: RuntimeError: on its nose" in falling
    assert ghost.split()[1:] == ["a", "ghost", "not", "raced:", "not", "installed", "here"]
    assert napping.split()[1:4] == ["a", "late", "riser"]
    assert napping.endswith("reached")
    assert table.endswith("1 reached, 0 below, 4 not measured\n")
    printed = capfd.readouterr()
    assert table in printed.out
    assert "OSError: no toys" in printed.err


def test_one_that_takes_too_long_is_stopped(toys, monkeypatch, capfd):
    monkeypatch.setattr(racing, "LIMIT", 0.05)
    assert "with status -9" in racing.race("quick").rows[-1]


def nothing() -> None:
    pass


EQUALLY_FAST = Peer(nothing, 1.0)


def task(ours: Callable[[], object] = nothing, peer: Peer = EQUALLY_FAST, **settings) -> Contest:
    return Contest("task", ours, {"peer": peer}, **settings)


def test_ratios_are_medians_of_the_rounds_own(monkeypatch: pytest.MonkeyPatch):
    seconds = iter([1.0, 2.0, 2.0, 2.0, 4.0, 20.0])  # ours, theirs, ours, ...
    monkeypatch.setattr(contest, "_seconds", lambda _: next(seconds))
    (line,) = hold(task(rounds=3))
    assert (line.ours, line.theirs, line.ratio, line.spread) == (2, 2, 2, (1, 5))
    assert line.verdict == "reached"
    # a peer that does a share is charged for the whole
    monkeypatch.setattr(contest, "_seconds", lambda _: 2.0)
    (line,) = hold(task(peer=Peer(nothing, 1.0, share=0.25)))
    assert (line.theirs, line.ratio) == (8, 4)


def raises(error: Exception) -> Callable[[], None]:
    def way() -> None:
        raise error

    return way


def differ(ours: object, theirs: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("held", "verdict", "words"),
    [
        (task(equal=differ), "failed", "ValueError: our result is not that of peer"),
        (task(raises(ImportError("ours"))), "failed", "ImportError: ours"),
        (task(peer=Peer(raises(KeyError("theirs")), 1.0)), "failed", "KeyError: 'theirs'"),
        (task(peer=Peer(raises(ImportError()), 1.0)), "not raced", "not installed here"),
    ],
)
def test_what_goes_wrong_is_told_and_another_result_is_no_race(held, verdict, words, capsys):
    assert hold(held) == []
    row = capsys.readouterr().out.rstrip()
    assert f" {verdict}: {words}" in row
    assert table.is_row(row)
    bare = Peer(nothing, 1.0, bare=True)
    assert hold(task(peer=bare, equal=differ)), "the result of bare passes is not compared"


def test_the_machine_is_described_and_every_benchmark_has_a_function_to_call():
    described = table.machine()
    assert {"measured", "CPU", "memory", "GPU", "torch", "peers"} <= described.keys()
    assert all(described.values())
    for name in bench.available():
        text = bench.file_of(name).read_text(encoding="utf-8")
        assert "def bench() -> None:" in text
