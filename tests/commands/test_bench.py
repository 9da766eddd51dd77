"""Benchmarks are found by their files, raced one by one, and end in one table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labsupport.bench import _contest
from labsupport.bench._contest import Contest, Gap, Line, hold
from labsupport.commands import bench, environment, main, timings
from labsupport.commands.timings import Section, Timings

HERE = {"measured": "today", "CPU": "a toy"}

TOYS = {
    "quick": """
import time
from labsupport.bench._contest import Contest, hold, text

def contest(task, ours, peers):
    return Contest(task, ours, peers, {name: 1.5 for name in peers}, rounds=3)

def fall():
    raise RuntimeError("on its nose")

def gone():
    import a_package_that_is_not_there

def bench():
    nap = lambda: time.sleep(0.002)
    for one in (
        contest("falling", fall, {"anybody": nap}),
        contest("napping", nap, {"a late riser": lambda: time.sleep(0.02), "a ghost": gone}),
    ):
        for line in hold(one):
            print(text(line), flush=True)
""",
    "broken": "def bench():\n    raise OSError('no toys')\n",
    "dying": "import os\n\ndef bench():\n    os._exit(9)\n",
}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ready", lambda *_: Path(sys.executable))
    monkeypatch.setattr(bench, "machine", lambda: dict(HERE))


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Benchmarks that take no time, found and raced like the real ones."""
    folder = tmp_path / "toys"
    folder.mkdir()
    for name, source in TOYS.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(bench, "FOLDER", folder)
    monkeypatch.setattr(bench, "PACKAGE", "toys")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The benchmarks that were raced, in a stand-in for their processes."""
    names: list[str] = []

    def race(name: str) -> Section:
        names.append(name)
        return Section(f"{name} (0 s)", ("falls  failed: again" if name == "dying" else "row",))

    monkeypatch.setattr(bench, "race", race)
    return names


def test_an_unknown_one_finds_the_nearest(capsys):
    assert main(["bench", "oclusion"]) == 1
    assert "the nearest is occlusion" in capsys.readouterr().err


def test_without_a_name_all_are_raced(toys, raced):
    assert main(["bench"]) == 1
    assert raced == ["broken", "dying", "quick"]


def test_a_name_is_raced_alone(toys, raced, capsys):
    assert main(["bench", "quick"]) == 0
    assert raced == ["quick"]
    assert "a toy" in capsys.readouterr().out


def test_help_tells_the_names_and_how_to_keep_the_table(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    told = capsys.readouterr().out
    assert "occlusion" in told
    assert "--keep FILE" in told
    assert "--resume" in told


@pytest.mark.slow
def test_what_fails_or_is_missing_is_told_and_the_rest_goes_on(toys, capfd):
    kept = toys / "bench.txt"
    assert main(["bench", "--keep", str(kept)]) == 1
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
    monkeypatch.setattr(bench, "LIMIT", 0.05)
    assert "failed: stopped after" in bench.race("quick").rows[-1]


def test_the_kept_file_goes_on_with_what_it_lacks(toys, raced):
    kept = toys / "bench.txt"
    main(["bench", "quick", "--keep", str(kept)])
    main(["bench", "dying", "--keep", str(kept)])
    assert [one.word for one in Timings.read(kept).sections] == ["dying", "quick"]
    raced.clear()
    main(["bench", "--keep", str(kept), "--resume"])
    assert raced == ["broken", "dying"]  # what failed is raced again
    assert [one.word for one in Timings.read(kept).sections] == ["broken", "dying", "quick"]


def test_tables_of_two_machines_are_not_mixed(toys, raced, monkeypatch, capsys):
    kept = toys / "bench.txt"
    main(["bench", "quick", "--keep", str(kept)])
    before = kept.read_text(encoding="utf-8")
    monkeypatch.setattr(bench, "machine", lambda: {**HERE, "measured": "tomorrow"})
    assert main(["bench", "broken", "--keep", str(kept)]) == 0
    monkeypatch.setattr(bench, "machine", lambda: {**HERE, "CPU": "another"})
    before = kept.read_text(encoding="utf-8")
    assert main(["bench", "quick", "--keep", str(kept)]) == 1
    assert "another machine" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == before
    main(["bench", "--keep", str(kept)])  # all of it anew
    assert Timings.read(kept).machine["CPU"] == "another"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume"], "--keep FILE"),
        (["--keep", "/nowhere/at/all/bench.txt"], "There is no folder /nowhere/at/all"),
    ],
)
def test_what_cannot_be_kept_is_said_before_anything_is_raced(words, told, toys, raced, capsys):
    assert main(["bench", *words]) == 1
    assert told in capsys.readouterr().err
    assert raced == []


def nothing() -> None:
    pass


def contest(ours: Callable[[], object] = nothing, **settings) -> Contest:
    named = {"peers": {"peer": nothing}, "wanted": {"peer": 1.0}, **settings}
    return Contest("task", ours, **named)


def test_ratios_are_medians_of_the_rounds_own(monkeypatch: pytest.MonkeyPatch):
    seconds = iter([1.0, 2.0, 2.0, 2.0, 4.0, 20.0])  # ours, theirs, ours, ...
    monkeypatch.setattr(_contest, "_seconds", lambda _: next(seconds))
    (line,) = hold(contest(rounds=3))
    assert (line.ours, line.theirs, line.ratio, line.spread) == (2, 2, 2, (1, 5))
    assert line.verdict == "reached"


def test_a_peer_that_does_a_share_is_charged_for_the_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_contest, "_seconds", lambda _: 2.0)
    (line,) = hold(contest(share={"peer": 0.25}))
    assert (line.theirs, line.ratio) == (8, 4)


def test_another_result_is_no_race():
    rows: list[_contest.Row] = []
    with _contest.listening(rows.append):
        assert hold(contest(equal=lambda ours, theirs: False)) == []
    (gap,) = rows
    assert (gap.verdict, "our result is not that of peer" in _contest.text(gap)) == ("failed", True)


def test_our_own_import_and_key_errors_are_failures():
    def wrong() -> None:
        raise KeyError("peer")

    rows: list[_contest.Row] = []
    with _contest.listening(rows.append):
        hold(contest(wrong))
        hold(contest(peers={"peer": wrong}))
        hold(contest(peers={}))
    assert [row.verdict for row in rows] == ["failed", "failed", "not raced"]


def test_rows_travel_and_are_kept_whole():
    rows = [
        Line("a task", "a peer", 1.0, 2.0, 2.0, (1.5, 2.5), 1.8),
        Line("a task", "a better one", 1.0, 1.0, 1.0, (1.0, 1.0), 1.2),
        Gap("a task", "a third", "not installed here"),
    ]
    assert [_contest.unpacked(_contest.packed(row)) for row in rows] == rows
    section = Section.of("toy", 3.2, [_contest.packed(row) for row in rows])
    table = Timings(dict(HERE), (section, Section.of("void", 0, [])))
    assert Timings.parse(str(table)) == table
    assert table.sum == "1 reached, 1 below, 2 not measured"
    assert (table.has("toy"), table.has("void"), table.failed("void")) == (True, False, True)


def test_the_machine_is_described():
    told = timings.machine()
    assert {"measured", "CPU", "memory", "GPU", "torch", "peers"} <= told.keys()
    assert all(told.values())


def test_every_benchmark_has_a_function_to_call():
    for name in bench.available():
        text = (bench.FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert "def bench() -> None:" in text
