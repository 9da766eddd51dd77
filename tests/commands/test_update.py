"""A newer version comes into a student's folder, and all of theirs is still there."""

import copy
import shutil
import subprocess
from pathlib import Path

import pytest

from labsupport.commands import handout, main, merging, notebooks, solve, update
from labsupport.commands.faults import Fault
from labsupport.commands.notebooks import Cell, Notebook, text_of
from labsupport.commands.requirements import ROOT

TEMPLATE = notebooks.read(ROOT / "tests" / "notebooks" / "template.ipynb")
LAB = "notebooks/90_template.ipynb"
STUB = "    raise NotImplementedError"
ANSWER = "    return row.unfold(0, width, 1).mean(1)  # mine"
SHIPPED = {
    "labsupport/__main__.py": "import labsupport",
    "labsupport/core/a.py": "A = 1",
    "labsupport/labs/lab90_template.py": "B = 1",
    "data/README.md": "words",
    "data/SHA256SUMS": "aa  photos/a.webp\n",
    "README.md": "first",
}


def cell(notebook: Notebook, name: str) -> Cell:
    return next(one for one in notebook["cells"] if one["id"] == name)


def edit(folder: Path, name: str, old: str, new: str, lab: str = LAB) -> None:
    notebook = notebooks.read(folder / lab)
    one = cell(notebook, name)
    assert old in text_of(one)
    one["source"] = notebooks.in_lines(text_of(one).replace(old, new))
    notebooks.write(notebook, folder / lab)


def source_of(folder: Path, name: str, lab: str = LAB) -> str:
    return text_of(cell(notebooks.read(folder / lab), name))


def everything(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def published(folder: Path) -> Path:
    for name, text in SHIPPED.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    notebooks.write(copy.deepcopy(TEMPLATE), folder / LAB)
    (folder / update.MARK).touch()
    return folder


@pytest.fixture
def newer(tmp_path) -> Path:
    """A version with another text, another file, a module less, and a cell in another place."""
    folder = published(tmp_path / "newer")
    (folder / "labsupport/core/a.py").unlink()
    (folder / "labsupport/core/b.py").write_text("A = 2")
    (folder / "README.md").write_text("second")
    edit(folder, "goals", "You will", "Now you will")
    notebook = notebooks.read(folder / LAB)
    moved = notebook["cells"].pop(notebook["cells"].index(cell(notebook, "exercise-1-cell")))
    notebook["cells"].insert(4, moved)
    notebooks.write(notebook, folder / LAB)
    return folder


@pytest.fixture
def student(tmp_path) -> Path:
    folder = published(tmp_path / "student")
    update.Handed.now(folder).write(folder)
    return folder


def updated(newer: Path, student: Path, *words: str) -> None:
    assert main(["update", str(newer), "--to", str(student), *words]) == 0


def is_there(newer: Path, student: Path) -> bool:
    """Whether every file of the newer one is here, and of its notebook every cell in its order."""
    assert not (student / update.STAGE).exists()
    for path in update.all_files(newer):
        if (
            not path.endswith(".ipynb")
            and (student / path).read_bytes() != (newer / path).read_bytes()
        ):
            return False
    order = [one["id"] for one in notebooks.read(newer / LAB)["cells"]]
    here = [one["id"] for one in notebooks.read(student / LAB)["cells"] if one["id"] in order]
    return here == order


def test_a_folder_without_work_becomes_the_newer_one(newer, student, capsys):
    updated(newer, student)
    assert is_there(newer, student)
    assert (student / LAB).read_bytes() == (newer / LAB).read_bytes()
    assert not (student / "labsupport/core/a.py").exists()
    assert not list(student.glob("before_update*"))
    told = capsys.readouterr().out
    assert f"replaced {LAB}" in told
    assert "new      files in labsupport: 1" in told
    updated(newer, student)
    assert capsys.readouterr().out == "All is as new as there.\n"


def worked_in(student: Path) -> None:
    """An answer, outputs, an own cell, a changed cell, an own picture and file."""
    edit(student, "exercise-1-cell", STUB, ANSWER)
    edit(student, "slide", "\n", "\n# tried\n")
    notebook = notebooks.read(student / LAB)
    cell(notebook, "setup")["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "on"}]
    own = {"cell_type": "markdown", "id": "mine", "metadata": {}, "source": "My own words"}
    notebook["cells"].insert(notebook["cells"].index(cell(notebook, "slide")) + 1, own)
    notebooks.write(notebook, student / LAB)
    for name in ("notebooks/pictures/cat.png", "notebooks/project.ipynb", "essay.txt"):
        (student / name).parent.mkdir(exist_ok=True)
        (student / name).write_text(name)


def test_answers_own_cells_and_own_files_stay_in_the_newer_version(newer, student, capsys):
    worked_in(student)
    before = contents(student)
    updated(newer, student)
    assert is_there(newer, student)
    assert ANSWER in source_of(student, "exercise-1-cell")
    assert STUB in source_of(student, "exercise-2-cell")
    assert "# tried" in source_of(student, "slide")
    assert "Now you will" in source_of(student, "goals")
    notebook = notebooks.read(student / LAB)
    assert cell(notebook, "setup")["outputs"]
    place = notebook["cells"].index(cell(notebook, "mine"))
    assert notebook["cells"][place - 1]["id"] == "slide"
    for name in ("notebooks/pictures/cat.png", "notebooks/project.ipynb", "essay.txt"):
        assert (student / name).read_bytes() == before[name]
    assert (student / "before_update_1" / LAB).read_bytes() == before[LAB]
    assert f"merged   {LAB}: kept answers: 1, changed cells: 1, own cells: 1" in (
        capsys.readouterr().out
    )
    again = contents(student)
    updated(newer, student)
    assert contents(student) == again


def test_a_cell_that_the_student_moved_or_whose_id_is_lost_is_known_by_its_exercise(newer, student):
    edit(student, "exercise-1-cell", STUB, ANSWER)
    notebook = notebooks.read(student / LAB)
    moved = notebook["cells"].pop(notebook["cells"].index(cell(notebook, "exercise-1-cell")))
    notebook["cells"].append(moved)
    for one in notebook["cells"]:
        del one["id"]
    notebooks.write(notebook, student / LAB)
    updated(newer, student)
    assert is_there(newer, student)
    assert ANSWER in source_of(student, "exercise-1-cell")
    texts = [text_of(one) for one in notebooks.read(student / LAB)["cells"]]
    assert sum(ANSWER in text for text in texts) == 1


@pytest.mark.parametrize("answered", [True, False])
def test_a_notebook_that_the_course_has_renamed_takes_the_work_along(newer, student, answered):
    if answered:
        edit(student, "exercise-1-cell", STUB, ANSWER)
    before = (student / LAB).read_bytes()
    (newer / LAB).rename(newer / "notebooks/90_windows.ipynb")
    updated(newer, student)
    here = "notebooks/90_windows.ipynb"
    assert (ANSWER in source_of(student, "exercise-1-cell", here)) == answered
    assert [path.name for path in (student / "notebooks").glob("*.ipynb")] == ["90_windows.ipynb"]
    assert (student / "before_update_1" / LAB).read_bytes() == before
    edit(newer, "goals", "Now you will", "You will now", here)
    updated(newer, student)
    assert "You will now" in source_of(student, "goals", here)
    assert "Yours, from before" not in (student / here).read_text()


def test_a_notebook_that_the_student_has_renamed_stays_and_its_work_is_in_the_newer(newer, student):
    edit(student, "exercise-1-cell", STUB, ANSWER)
    (student / LAB).rename(student / "notebooks/mine.ipynb")
    before = (student / "notebooks/mine.ipynb").read_bytes()
    updated(newer, student)
    assert ANSWER in source_of(student, "exercise-1-cell")
    assert (student / "notebooks/mine.ipynb").read_bytes() == before


def test_what_both_have_changed_is_the_courses_and_the_students_stands_below(
    newer, student, capsys
):
    edit(newer, "exercise-1-cell", "(row, width)", "(row, width, step)")
    edit(newer, "exercise-2-cell", '"""The', '"""In other words: the')
    edit(newer, "slide", "\n", "\n# the course's\n")
    edit(student, "exercise-1-cell", STUB, ANSWER)
    edit(student, "exercise-2-cell", STUB, "    return 0, 1")
    edit(student, "slide", "\n", "\n# the student's\n")
    edit(student, "goals", "You will", "I shall")
    (student / "README.md").write_text("my notes")
    before = contents(student)
    updated(newer, student)
    assert is_there(newer, student)
    cells = notebooks.read(student / LAB)["cells"]
    names = [one["id"] for one in cells]
    for name, words in (
        ("exercise-1-cell", ANSWER),
        ("slide", "# the student's"),
        ("goals", "I shall"),
    ):
        below = cells[names.index(name) + 1]
        assert below["cell_type"] == "markdown"
        assert words in text_of(below)
        assert words not in text_of(cells[names.index(name)])
    assert "# the course's" in source_of(student, "slide")
    assert "return 0, 1" in source_of(student, "exercise-2-cell")  # the function is as before
    for path in (LAB, "README.md"):
        assert (student / "before_update_1" / path).read_bytes() == before[path]
    assert "answers below the changed exercise: 1" in capsys.readouterr().out
    again = contents(student)
    updated(newer, student)
    assert contents(student) == again


class Cut(BaseException):
    """The power fails."""


def cut_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power fails at the file operation of that number."""
    left = iter(range(count))

    def limited(method):
        def call(*arguments, **settings):
            if next(left, None) is None:
                raise Cut
            return method(*arguments, **settings)

        return call

    for name in ("replace", "unlink", "write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, limited(getattr(Path, name)))


def test_cut_off_anywhere_nothing_is_lost_and_a_second_update_goes_on(tmp_path, newer, student):
    edit(newer, "exercise-1-cell", "(row, width)", "(row, width, step)")
    (newer / LAB).rename(newer / "notebooks/90_windows.ipynb")
    worked_in(student)
    mine = ("# mine", "# tried", "My own words", "my notes")
    (student / "README.md").write_text("my notes")
    cuts = 0
    for count in range(100):
        folder = tmp_path / f"cut_{count}"
        shutil.copytree(student, folder)
        with pytest.MonkeyPatch.context() as patched:
            cut_after(count, patched)
            try:
                updated(newer, folder)
            except Cut:
                cuts += 1
        assert all(word.encode() in everything(folder) for word in mine), count
        updated(newer, folder)
        assert all(word.encode() in everything(folder) for word in mine), count
        here = [path.name for path in (folder / "notebooks").glob("*.ipynb")]
        assert sorted(here) == ["90_windows.ipynb", "project.ipynb"], count
        assert "# mine" in (folder / "notebooks/90_windows.ipynb").read_text(), count
        assert (folder / "README.md").read_text() == "second", count
        if count >= cuts:
            break
    assert cuts == 10  # three drafts, three put in place, two removed, the list


def test_a_full_disk_is_told_and_changes_nothing_of_the_students(newer, student, monkeypatch):
    worked_in(student)
    before = contents(student)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Fault, match=r"No space left on device\. Nothing of yours is lost"):
        update.carry_out(update.planned(newer, student), newer, student)
    monkeypatch.undo()
    assert before.items() <= contents(student).items()


def test_a_dry_run_tells_the_same_and_changes_nothing(newer, student, capsys):
    worked_in(student)
    before = contents(student)
    updated(newer, student, "--dry-run")
    told = capsys.readouterr().out
    assert contents(student) == before
    updated(newer, student)
    assert told.splitlines()[:-1] == capsys.readouterr().out.splitlines()[:-1]


def test_damaged_data_come_back_also_from_the_same_version(student, tmp_path):
    same = published(tmp_path / "same")
    (student / "data/README.md").write_text("damaged")
    updated(same, student)
    assert (student / "data/README.md").read_text() == "words"


def test_labs_that_the_newer_one_lacks_stay_with_their_modules_and_data(newer, student):
    (newer / "labsupport/labs/lab91_other.py").write_text("C = 1")
    (newer / "labsupport/labs/lab90_template.py").unlink()
    (newer / "data/SHA256SUMS").write_text("bb  maps/b.csv\n")
    other = copy.deepcopy(TEMPLATE)
    for one in other["cells"]:
        one["id"] += "-b"
        one["metadata"] = {}
    (newer / LAB).unlink()
    notebooks.write(other, newer / "notebooks/91_other.ipynb")
    (student / "data/photos").mkdir()
    (student / "data/photos/a.webp").touch()
    updated(newer, student)
    assert (student / LAB).is_file()
    assert (student / "labsupport/labs/lab90_template.py").is_file()
    assert LAB in update.Handed.found_in(student).cells
    sums = (student / "data/SHA256SUMS").read_text()
    assert sums == "bb  maps/b.csv\naa  photos/a.webp\n"


def test_what_was_handed_out_without_a_list_is_merged_with_nothing_lost(newer, student):
    worked_in(student)
    (student / update.RECORD).unlink()
    updated(newer, student)
    assert is_there(newer, student)
    assert ANSWER in source_of(student, "exercise-1-cell")
    assert b"# tried" in (student / LAB).read_bytes()
    assert (student / "before_update_1" / "README.md").read_text() == "first"


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_in_a_clone_git_knows_what_was_handed_out(newer, student):
    for folder, name in ((newer, "90_1_new.py"), (student, "90_1_old.py")):
        (folder / update.MARK).unlink()
        (folder / "notebooks/solutions").mkdir()
        (folder / "notebooks/solutions" / name).touch()
    (student / update.RECORD).unlink()
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", student, *words], check=True)
    worked_in(student)
    updated(newer, student)
    assert is_there(newer, student)
    assert ANSWER in source_of(student, "exercise-1-cell")
    assert sum("You will" in text_of(one) or "you will" in text_of(one)
               for one in notebooks.read(student / LAB)["cells"]) == 1  # fmt: skip
    solutions = [path.name for path in (student / "notebooks/solutions").iterdir()]
    assert solutions == ["90_1_new.py"]
    kept = sorted(contents(student / "before_update_1"))
    assert kept == [LAB]
    again = contents(student)
    updated(newer, student)
    assert contents(student) == again


def test_what_is_no_workbook_or_has_answers_or_is_no_notebook_is_told(newer, student, tmp_path):
    def refused(source: Path, words: str) -> None:
        with pytest.raises(Fault, match=words), update.opened(source, student) as found:
            update.planned(found, student)

    refused(student, "is the folder that is to be updated")
    refused(tmp_path, "has no labsupport in it")
    edit(newer, "exercise-2-cell", STUB, "    return 0, 1")
    refused(newer, r"has an answer to exercise 90\.2")
    edit(newer, "exercise-2-cell", "    return 0, 1", STUB)
    (student / LAB).write_text("{broken")
    updated(newer, student)
    assert (student / LAB).read_bytes() == (newer / LAB).read_bytes()
    assert (student / "before_update_1" / LAB).read_text() == "{broken"


def test_a_zip_and_a_clone_are_taken_too(newer, student, tmp_path, monkeypatch):
    archive = shutil.make_archive(str(tmp_path / "class"), "zip", newer.parent, newer.name)
    with update.opened(Path(archive), student) as source:
        assert update.all_files(source) == update.all_files(newer)
    with update.opened(ROOT, student.rename(tmp_path / "renamed")) as source:
        assert not (source / "notebooks" / "teaching.md").exists()


def test_a_real_handout_is_updated_and_all_its_answers_stay(tmp_path):
    newer, student, lab = tmp_path / "newer", tmp_path / "student", "notebooks/05_occlusion.ipynb"
    handout.hand_out(ROOT, newer, ["05"])
    shutil.copytree(newer, student)
    solve.solve(ROOT / lab, tmp_path / "solved.ipynb")
    solved = dict(notebooks.exercise_cells(notebooks.read(tmp_path / "solved.ipynb")))
    notebook = notebooks.read(student / lab)
    for name, one in notebooks.exercise_cells(notebook):
        one["source"] = solved[name]["source"]
    notebooks.write(notebook, student / lab)
    edit(newer, "goals", "You will", "Now you will", lab)
    updated(newer, student)
    after, wanted = notebooks.read(student / lab), notebooks.read(newer / lab)
    for name, one in notebooks.exercise_cells(wanted):
        one["source"] = solved[name]["source"]
    assert merging.digests(after) == merging.digests(wanted)
