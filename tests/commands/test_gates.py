"""`test` becomes one pytest, with or without what takes long."""

import os
import sys
from pathlib import Path

import pytest

from labsupport.commands import environment, gates, machine, main
from labsupport.commands.requirements import ROOT

WORKERS = gates.workers


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The extras that the environment was asked for."""
    calls: list[tuple[str, ...]] = []

    def ready(*extras: str, **_: object) -> Path:
        calls.append(extras)
        return Path("/env/bin/python")

    monkeypatch.setattr(environment, "ready", ready)
    monkeypatch.setattr(gates, "workers", lambda: 1)
    return calls


PYTEST = ["/env/bin/python", "-m", "pytest"]


@pytest.mark.parametrize(
    ("words", "processes", "rest"),
    [
        ([], 1, []),
        (["-n", "0"], 3, ["--numprocesses=3", "--dist=worksteal", "-n", "0"]),
        (["--quick"], 1, ["-m", "not slow"]),
        (["-x", "tests/core", "-k", "images"], 1, ["-x", "tests/core", "-k", "images"]),
    ],
)
def test_it_is_one_pytest_with_the_test_tools_there(
    words, processes, rest, asked, executed, monkeypatch, capsys
):
    monkeypatch.setattr(gates, "workers", lambda: processes)
    assert main(["test", *words]) == 0
    assert executed()[0] == [*PYTEST, *rest]
    assert asked == [("test",)]
    with pytest.raises(SystemExit):
        main(["test", "--quick", "--all"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cores", "gigabytes", "expected"),
    [(1, 64, 1), (2, 24, 2), (16, 64, 4), (8, 10, 3), (8, 4, 1), (8, None, 1), (None, 64, 1)],
)
def test_a_worker_for_each_core_that_has_memory(cores, gigabytes, expected, monkeypatch):
    memory = gigabytes and gigabytes * 2**30
    monkeypatch.setattr(gates.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(gates.machine, "total_memory", lambda: memory)
    assert WORKERS() == expected


def test_what_is_computed_again_is_there():
    for path in (*gates.NUMERIC, gates.NOTEBOOKS):
        assert (ROOT / path).exists(), path


# The long matrix


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """The pytests that are started, on a machine with AVX-512: none of them is."""
    calls: list[tuple[list[str], dict[str, str]]] = []

    def wait_for(words: list[str], surroundings: dict[str, str]) -> int:
        calls.append((words, surroundings))
        return 0

    monkeypatch.setattr(gates.interpreters, "wait_for", wait_for)
    monkeypatch.setattr(gates.machine, "best", lambda python: "AVX512")
    return calls


def settings(calls: list[tuple[list[str], dict[str, str]]]) -> list[tuple[str | None, ...]]:
    """ATen's instructions, oneDNN's and the threads, of each pytest."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")
    return [tuple(around.get(name) for name in names) for _, around in calls]


def test_all_computes_the_numbers_under_every_setting_and_the_notebooks_under_one(
    asked, runs, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LABS_TESTS", raising=False)
    monkeypatch.setattr(gates, "workers", lambda: 4)
    main(["test", "--all", "-x"])
    assert asked == [("test",)]
    assert [around.get("LABS_TESTS") for _, around in runs] == ["all"] + 7 * [None]
    plain, avx2, own = ("default", "SSE41"), ("avx2", "AVX2"), (None, None)
    numbers = [(*kind, threads) for threads in ("1", "2") for kind in (own, plain, avx2)]
    assert settings(runs) == [(*own, None), *numbers, (*plain, None)]
    everything, *numeric, notebooks = (
        [word for word in words if "xml" not in word] for words, _ in runs
    )
    several, halved = (
        [*PYTEST, f"--numprocesses={processes}", "--dist=worksteal"] for processes in (4, 2)
    )
    assert everything == [*several, "-x"]
    # runs in two threads have half as many processes
    assert numeric == [[*kind, *gates.NUMERIC, "-x"] for kind in (several, halved) for _ in "123"]
    assert notebooks == [*several, gates.NOTEBOOKS, "-x"]


def test_a_processor_without_plainer_kernels_shows_its_own_alone():
    names = [run.name for run in gates.matrix("DEFAULT")]
    assert len(names) == 3
    assert not [name for name in names if "notebooks" in name or "AVX2" in name]
    assert [one.name for one in machine.foreign("AVX2")] == ["plain kernels"]
    assert machine.foreign("SVE256") == (machine.PLAIN,)


def test_torch_obeys_each_setting(monkeypatch):
    own = machine.best(sys.executable)
    assert own
    told = {machine.PLAIN.name: "DEFAULT", machine.AVX2.name: "AVX2"}
    for setting in machine.foreign(own):
        for name, value in setting.variables.items():
            monkeypatch.setenv(name, value)
        assert machine.best(sys.executable) == told[setting.name]


NEEDS = "import os\ndef test_e():\n    assert os.environ['RUN'] == 'third'\n"
GOOD, BAD = "def test_a():\n    pass\n", "def test_b():\n    assert False\n"
BROKEN = "import pytest\n@pytest.fixture\ndef f():\n    1 / 0\ndef test_c(f):\n    pass\n"
SKIPPED = "import pytest\ndef test_d():\n    pytest.skip('a reason')\n"


def test_an_early_failure_is_not_hidden_by_a_good_end(tmp_path, monkeypatch, capsys):
    """Real ones, three: the middle one fails; and the environment of each is its own."""
    files = {"first": GOOD, "second": GOOD + BAD + BROKEN + SKIPPED, "third": GOOD + NEEDS}
    for name, content in files.items():
        (tmp_path / f"test_{name}.py").write_text(content)
    options = ["-c", os.devnull, "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    several = [
        gates.Stage(name, [*options, str(tmp_path / f"test_{name}.py")], {"RUN": name})
        for name in files
    ]
    monkeypatch.chdir(tmp_path)
    assert gates.one_after_the_other(sys.executable, several, ["-q"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-4:] == [
        "first: 1 passed, 0 failed, 0 skipped",
        "second: 1 passed, 2 failed, 1 skipped",
        "third: 2 passed, 0 failed, 0 skipped",
        "in all: 4 passed, 2 failed, 1 skipped",
    ]


@pytest.mark.parametrize(("status", "started"), [(-9, 3), (gates.INTERRUPTED, 1)])
def test_a_run_that_does_not_finish_is_said_and_ctrl_c_ends_them_all(
    status, started, monkeypatch, capsys
):
    calls: list[list[str]] = []

    def wait_for(words: list[str], surroundings: dict[str, str]) -> int:
        calls.append(words)
        return status

    monkeypatch.setattr(gates.interpreters, "wait_for", wait_for)
    several = [gates.Stage(name) for name in ("one", "two", "three")]
    assert gates.one_after_the_other("python", several, []) == abs(status)
    assert len(calls) == started
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "in all: 0 passed, 0 failed, 0 skipped; not finished"
