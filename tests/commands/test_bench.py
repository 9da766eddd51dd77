"""`bench` is the door of the races in tests/benchmarks, and says where there are none."""

from pathlib import Path

import pytest

from labsupport.commands import bench, environment, main

pytestmark = pytest.mark.usefixtures("ready_here")


def test_the_words_that_help_lists_are_handed_to_the_races(executed, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    listed = capsys.readouterr().out
    assert [words for words in ("fooling", "style", "--keep FILE") if words not in listed] == []
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "fooling", "style", "--keep", "kept.txt"]) == 0
    words, _ = executed()
    races = Path(words[1])
    assert (races / "__main__.py").exists()
    assert words[2:] == ["fooling", "style", "--keep", str(tmp_path / "kept.txt")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["oclusion"], "the nearest is occlusion"),
        (["--keep", "/nowhere/at/all/bench.txt"], "There is no folder /nowhere/at/all"),
    ],
)
def test_what_cannot_be_raced_or_kept_is_refused_first(words, said, monkeypatch, capsys):
    monkeypatch.setattr(environment, "ready", lambda *_: pytest.fail("installed before"))
    assert main(["bench", *words]) == 1
    assert said in capsys.readouterr().err


def test_a_folder_without_tests_says_where_the_benchmarks_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "tests" / "benchmarks")
    assert main(["bench"]) == 1
    assert "take the whole workbook" in capsys.readouterr().err
