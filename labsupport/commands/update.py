"""`update`: bring a newer handout or clone into a student's folder, and keep what is theirs.

What was handed out is known file by file and cell by cell. What is still so is replaced. A notebook
with work in it is merged cell by cell. Of every file that the student has changed and that changes
now, a copy is kept first.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labsupport.commands import merging
from labsupport.commands.faults import Fault
from labsupport.commands.merging import digest
from labsupport.commands.notebooks import FOLDER, exercise_cells, read, text_of, written
from labsupport.commands.requirements import PACKAGE, ROOT
from labsupport.commands.solve import is_stub

MARK = ".made-by-handout"
RECORD = ".handed-out"
STAGE = ".update"
KEPT = "before_update_{}"
PASSED_OVER = shutil.ignore_patterns(
    *(
        ".git",
        ".venv*",
        ".*_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        "__pycache__",
        "*.pyc",
        "*.egg-info",
    ),
    *("pictures", MARK, f"{RECORD}*", STAGE, KEPT.format("*")),
)
SUMS = "data/SHA256SUMS"
OURS = ("labsupport/", "notebooks/solutions/", "tests/")  # where a former file would be in the way


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `update`."""
    parser.add_argument(
        "source",
        metavar="FROM",
        type=Path,
        nargs="?",
        default=FOLDER.parent,
        help="its folder or zip file (default: what is installed, with --to)",
    )
    parser.add_argument("--to", type=Path, default=ROOT, help="what is updated (default: this)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.epilog = "Save and close the notebooks first."


def main(options: Namespace) -> int:
    """Bring the newer one here, and list what was done with what."""
    target = options.to.absolute()
    if options.source == PACKAGE:
        bring(PACKAGE, target, "notebooks/", dry=options.dry_run)
        return 0
    with opened(options.source.absolute(), target) as source:
        bring(source, target, dry=options.dry_run)
    return 0


def bring(source: Path, target: Path, under: str = "", *, dry: bool = False) -> None:
    """Bring what is newer there, or under one of its folders, and say what was done."""
    steps = planned(source, target, under)
    print("\n".join(listing(steps)))
    if dry:
        print("Nothing was changed. Leave out --dry-run to do this.")
    elif kept := carry_out(steps, source, target, under):
        print(f"Copies of what you had are in {kept}.")


@contextlib.contextmanager
def opened(source: Path, target: Path) -> Iterator[Path]:
    """The folder with what is handed out: a zip unpacked, of a clone what its class would get."""
    if source.resolve() == target.resolve():
        raise Fault(f"{source} is the folder that is to be updated. Name the newer one.")
    with tempfile.TemporaryDirectory() as scratch:
        if source.suffix == ".zip" and source.is_file():
            shutil.unpack_archive(source, scratch)
            source = next((one for one in Path(scratch).iterdir() if is_workbook(one)), source)
        for folder in (source, target):
            if not is_workbook(folder):
                raise Fault(f"{folder} is no folder of this workbook: it has no labsupport in it.")
        if (target / MARK).is_file() and not (source / MARK).is_file():
            source = _handed_out(source, target, Path(scratch, "handout"))
        yield source


def is_workbook(folder: Path) -> bool:
    """Whether the folder holds a clone or a handout."""
    return (folder / "labsupport" / "__main__.py").is_file() and (folder / "notebooks").is_dir()


def _handed_out(clone: Path, target: Path, scratch: Path) -> Path:
    """A handout that the clone itself makes, of the labs that the target has."""
    numbers = {path.name[:2] for path in (target / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    labs = [path.stem for path in (clone / "notebooks").glob("*.ipynb") if path.name[:2] in numbers]
    words = [sys.executable, "-m", "labsupport", "handout", *labs, "--to", str(scratch)]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    made = subprocess.run(words, cwd=clone, env=around, capture_output=True, text=True, check=False)
    if made.returncode:
        raise Fault(f"{clone} makes no handout: {made.stderr.strip() or made.stdout.strip()}")
    return scratch


# What was handed out


@dataclass(frozen=True)
class Handed:
    """What a folder was like when it was handed out: digests of files, and of notebooks' cells."""

    files: dict[str, str] = field(default_factory=dict)  # by path, with forward slashes
    cells: dict[str, dict[str, str]] = field(default_factory=dict)  # by path and cell id

    @classmethod
    def now(cls, folder: Path, under: str = "") -> "Handed":
        """Of the folder as it is: when it is made, and where it comes from."""
        files = {path: digest((folder / path).read_bytes()) for path in all_files(folder, under)}
        notebooks = [path for path in files if path.endswith(".ipynb")]
        return cls(files, {path: merging.digests(read(folder / path)) for path in notebooks})

    @classmethod
    def found_in(cls, folder: Path) -> "Handed":
        """What the folder's own list says, else git's last commit, else nothing."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return cls(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        with contextlib.suppress(OSError, ValueError, subprocess.CalledProcessError):
            if (folder / ".git").exists():
                lines = _git(folder, "ls-tree", "-r", "-z", "HEAD").decode().split("\0")[:-1]
                files = {line.partition("\t")[2]: line.split()[2] for line in lines}
                notebooks = [name for name in files if name.endswith(".ipynb")]
                texts = {name: _git(folder, "show", f"HEAD:{name}") for name in notebooks}
                return cls(files, {a: merging.digests(json.loads(b)) for a, b in texts.items()})
        return cls()

    def write(self, folder: Path) -> None:
        """Into the folder's own list, in one step; labs that are not among these stay in it."""
        before, draft = Handed.found_in(folder), folder / f"{RECORD}.new"
        known = Handed({**before.files, **self.files}, {**before.cells, **self.cells})
        draft.write_text(json.dumps(asdict(known)), encoding="utf-8")
        draft.replace(folder / RECORD)


def _git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, check=True).stdout


def all_files(folder: Path, under: str = "") -> list[str]:
    """The paths of what is handed on: all but a student's pictures, caches and environments."""
    paths = []
    for place, folders, names in os.walk(folder):
        passed = PASSED_OVER(place, [*folders, *names])
        passed |= {"build", "dist"} if Path(place) == folder else set()
        passed |= {"solutions"} if under else set()
        folders[:] = set(folders) - passed
        paths += [Path(place, name) for name in names if name not in passed]
    names_there = sorted(path.relative_to(folder).as_posix() for path in paths)
    return [name for name in names_there if name.startswith(under)]


# The plan


@dataclass(frozen=True)
class Step:
    """What happens to one file; without `content` it becomes the newer folder's."""

    path: str
    act: str  # "new", "replaced", "merged" or "removed"
    words: str = ""
    keep: bool = False  # whether a copy is made first
    content: bytes | None = None


def planned(source: Path, target: Path, under: str = "") -> list[Step]:
    """What is to be done, nothing of it done yet; `under`: in that folder alone."""
    handed = Handed.found_in(target)
    paths = all_files(source, under)
    former = _former_names(source, target, paths)
    steps = []
    for path in paths:
        steps += _step(path, former.get(path, path), source, target, handed)
    for path, old in former.items():
        if old in handed.files:
            steps.append(Step(old, "removed", f"it is {path} now", keep=True))
    return steps + _gone(paths, target, handed)


def _step(path: str, old: str, source: Path, target: Path, handed: Handed) -> list[Step]:
    """What happens with one file of the newer folder, whose name here was `old`."""
    new = (source / path).read_bytes()
    if path.endswith(".ipynb"):
        refuse_answers(source / path)
    here = path if (target / path).is_file() else old
    if not (target / here).is_file():
        return [Step(path, "new")]
    mine, was = (target / here).read_bytes(), handed.files.get(old)
    if here == path and (mine == new or (digest(new) == was and not path.startswith("data/"))):
        return []  # the same, or the student's own version and nothing newer
    if path == SUMS:
        new = _all_sums(new, mine, target)
        return [Step(path, "replaced", content=new)] if new != mine else []
    if digest(mine) == was:
        return [Step(path, "replaced" if here == path else "new")]
    if path.endswith(".ipynb"):
        return _merged(path, here, source, target, handed)
    return [Step(path, "replaced", "you had changed it", keep=True)]


def _merged(path: str, here: str, source: Path, target: Path, handed: Handed) -> list[Step]:
    number = path[:12]  # "notebooks/05": an update that was cut off may have renamed it already
    alike = (one for name, one in handed.cells.items() if name.startswith(number))
    cells = handed.cells.get(here) or next(alike, {})
    try:
        merged, words = merging.merged(read(source / path), read(target / here), cells)
    except (Fault, KeyError, TypeError, AttributeError):
        return [Step(path, "replaced", "yours could not be read as a notebook", keep=True)]
    content = written(merged)
    if here == path and content == (target / here).read_bytes():
        return []
    words = f"kept {words}" + (f"; it was {here}" if here != path else "")
    return [Step(path, "merged", words, keep=here == path, content=content)]


def refuse_answers(path: Path) -> None:
    """A notebook that somebody has worked in is not handed on: a `Fault`."""
    for name, cell in exercise_cells(read(path)):
        if not is_stub(text_of(cell)):
            raise Fault(
                f"{path.name} has an answer to exercise {name} in it. Take a fresh handout, or the "
                f"notebook back from git (git checkout -- notebooks/{path.name})."
            )


def _all_sums(new: bytes, mine: bytes, target: Path) -> bytes:
    """The newer list of data, and what only labs that are not in it show."""
    listed = {line.partition(b"  ")[2] for line in new.splitlines()}
    names = {line: line.partition(b"  ")[2] for line in mine.splitlines()}
    there = [line for line, name in names.items() if (target / "data" / name.decode()).is_file()]
    return new + b"".join(line + b"\n" for line in there if names[line] not in listed)


def _former_names(source: Path, target: Path, paths: Sequence[str]) -> dict[str, str]:
    """Which notebook here, whose name the newer folder has not, is the same lab as one there."""
    here = {f"notebooks/{path.name}" for path in (target / "notebooks").glob("*.ipynb")}
    found = {}
    for old in sorted(here - set(paths)):
        for path in paths:
            if path.endswith(".ipynb") and path not in found:
                with contextlib.suppress(Fault, KeyError, TypeError, AttributeError):
                    if merging.is_same_lab(read(source / path), read(target / old)):
                        found[path] = old
                        break
    return found


def _gone(paths: Sequence[str], target: Path, handed: Handed) -> list[Step]:
    """Files of the course that the newer one has not, and which could stand in the way of its own.

    Those of labs and folders that are not in it at all stay.
    """
    ours = tuple(one for one in OURS if any(path.startswith(one) for path in paths))
    labs = {Path(path).name[:6] for path in paths}
    gone = [path for path in handed.files if path.startswith(ours) and path not in paths]
    gone = [one for one in gone if Path(one).name[:6] in labs or Path(one).name[:3] != "lab"]
    here = [path for path in gone if (target / path).is_file()]
    changed = {path: digest((target / path).read_bytes()) != handed.files[path] for path in here}
    return [Step(path, "removed", "you had changed it" if changed[path] else "", changed[path])
            for path in here]  # fmt: skip


def listing(steps: Sequence[Step]) -> list[str]:
    """What is done, a line each for what a student works with; other files are counted."""
    counted = ("labsupport/", "data/", "tests/")
    told = [one for one in steps if one.words or not one.path.startswith(counted)]
    lines = [f"{one.act:8} {one.path}{': ' if one.words else ''}{one.words}" for one in told]
    others = Counter((one.path.split("/")[0], one.act) for one in steps if one not in told)
    lines += [f"{act:8} files in {place}: {n}" for (place, act), n in sorted(others.items())]
    return lines or ["All is as new as there."]


# The deed


def carry_out(steps: Sequence[Step], source: Path, target: Path, under: str = "") -> Path | None:
    """Do it, and give the folder with copies of what the student had, if there are any.

    Copies come first, then all newer files beside, then one replacement after the other. Wherever
    that is cut off, each file is the old one or the newer one, and a second update goes on.
    """
    stage, kept = target / STAGE, None
    try:
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(stage, ignore_errors=True)
        if before := [step.path for step in steps if step.keep]:
            kept = _kept(before, target)
        written = [step for step in steps if step.act != "removed"]
        for step in written:
            (stage / step.path).parent.mkdir(parents=True, exist_ok=True)
            content = (source / step.path).read_bytes() if step.content is None else step.content
            (stage / step.path).write_bytes(content)
        for step in written:
            (target / step.path).parent.mkdir(parents=True, exist_ok=True)
            (stage / step.path).replace(target / step.path)
        for step in steps:
            if step.act == "removed":
                (target / step.path).unlink()
        Handed.now(source, under).write(target)
        shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        words = f"The update stopped: {error}. Nothing of yours is lost. Mend that and start again."
        raise Fault(words) from None
    return kept


def _kept(paths: Sequence[str], target: Path) -> Path:
    """The folder of copies, with the names that they have here."""
    number = next(n for n in range(1, 10**6) if not (target / KEPT.format(n)).exists())
    folder = target / KEPT.format(number)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(target / path, folder / path)
    return folder
