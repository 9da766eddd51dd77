"""Benchmarks are raced one by one, and end in one table."""

import importlib.util
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import contest
import pytest
import table
from contest import Contest, Gap, Line, Peer, hold
from table import Section, Timings

from labsupport.commands import bench
from labsupport.commands.faults import Fault

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


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The benchmarks that were raced, in a stand-in for their processes."""
    names: list[str] = []

    def race(name: str) -> Section:
        names.append(name)
        return Section(f"{name} (0 s)", ("falls  failed: again" if name == "dying" else "row",))

    monkeypatch.setattr(racing, "race", race)
    return names


def test_a_name_is_raced_alone_and_without_one_all_are(toys, raced, capsys):
    assert measure() == 1
    assert raced == ["broken", "dying", "quick"]
    raced.clear()
    assert measure("quick") == 0
    assert raced == ["quick"]
    assert "a toy" in capsys.readouterr().out


@pytest.mark.slow
def test_what_fails_or_is_missing_is_reported_and_the_rest_goes_on(toys, capfd):
    kept = toys / "bench.txt"
    assert measure("--keep", str(kept)) == 1
    table = kept.read_text(encoding="utf-8")
    assert "OSError: no toys" in table
    assert "its process ended with status 9" in table
    falling, ghost, napping = (
        line for line in table.splitlines() if line.strip().startswith(("falling", "napping"))
    )
    assert "failed: RuntimeError: on its nose" in falling
    assert ghost.split()[1:] == ["a", "ghost", "not", "raced:", "not", "installed", "here"]
    assert napping.split()[1:4] == ["a", "late", "riser"]
    assert napping.endswith("reached")
    assert table.endswith("1 reached, 0 below, 4 not measured\n")
    assert table in capfd.readouterr().out


def test_one_that_takes_too_long_is_stopped(toys, monkeypatch, capfd):
    monkeypatch.setattr(racing, "LIMIT", 0.05)
    assert "failed: stopped after" in racing.race("quick").rows[-1]


def test_the_kept_file_goes_on_with_what_it_lacks(toys, raced):
    kept = toys / "bench.txt"
    measure("quick", "--keep", str(kept))
    measure("dying", "--keep", str(kept))
    assert [one.word for one in Timings.read(kept).sections] == ["dying", "quick"]
    raced.clear()
    measure("--keep", str(kept), "--resume")
    assert raced == ["broken", "dying"]  # what failed is raced again
    assert [one.word for one in Timings.read(kept).sections] == ["broken", "dying", "quick"]


def test_tables_of_two_machines_are_not_mixed(toys, raced, monkeypatch):
    kept = toys / "bench.txt"
    measure("quick", "--keep", str(kept))
    monkeypatch.setattr(table, "machine", lambda: {**HERE, "measured": "tomorrow"})
    assert measure("broken", "--keep", str(kept)) == 0
    monkeypatch.setattr(table, "machine", lambda: {**HERE, "CPU": "another"})
    before = kept.read_text(encoding="utf-8")
    with pytest.raises(Fault, match="another machine"):
        measure("quick", "--keep", str(kept))
    assert kept.read_text(encoding="utf-8") == before
    measure("--keep", str(kept))  # all of it anew
    assert Timings.read(kept).machine["CPU"] == "another"


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
        (task(equal=differ), "failed", "our result is not that of peer"),
        (task(raises(ImportError("ours"))), "failed", "ImportError: ours"),
        (task(peer=Peer(raises(KeyError("theirs")), 1.0)), "failed", "KeyError: 'theirs'"),
        (task(peer=Peer(raises(ImportError()), 1.0)), "not raced", "not installed here"),
    ],
)
def test_what_goes_wrong_is_told_and_another_result_is_no_race(held, verdict, words):
    rows: list[contest.Row] = []
    with contest.listening(rows.append):
        assert hold(held) == []
    (gap,) = rows
    assert (gap.verdict, words in contest.text(gap)) == (verdict, True)
    bare = Peer(nothing, 1.0, bare=True)
    assert hold(task(peer=bare, equal=differ)), "the result of bare passes is not compared"


def test_rows_travel_and_are_kept_whole():
    rows = [
        Line("a task", "a peer", 1.0, 2.0, 2.0, (1.5, 2.5), 1.8),
        Line("a task", "a better one", 1.0, 1.0, 1.0, (1.0, 1.0), 1.2),
        Gap("a task", "a third", "not installed here"),
    ]
    assert [contest.unpacked(contest.packed(row)) for row in rows] == rows
    section = Section.of("toy", 3.2, [contest.packed(row) for row in rows])
    timings = Timings(dict(HERE), (section, Section.of("void", 0, [])))
    assert Timings.parse(str(timings)) == timings
    assert timings.sum == "1 reached, 1 below, 2 not measured"
    assert (timings.has("toy"), timings.has("void"), timings.failed("void")) == (True, False, True)


def test_the_machine_is_described_and_every_benchmark_has_a_function_to_call():
    described = table.machine()
    assert {"measured", "CPU", "memory", "GPU", "torch", "peers"} <= described.keys()
    assert all(described.values())
    for name in bench.available():
        text = bench.file_of(name).read_text(encoding="utf-8")
        assert "def bench() -> None:" in text
