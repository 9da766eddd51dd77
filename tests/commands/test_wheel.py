"""The wheel is the whole workbook for a student: package, data and notebooks, no solution."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from labsupport.commands import notebooks, requirements
from labsupport.commands.handout import AT_THE_ROOT
from labsupport.commands.requirements import ROOT
from labsupport.core import bundled

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("setuptools") is None, reason="there is no setuptools here"
    ),
]
LARGEST = 60e6  # bytes; package indexes take no more than 100 MB
LAB = "notebooks/05_occlusion.ipynb"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built in a copy, without a connection."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    passed = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "pictures")
    for name in ("labsupport", "data", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=passed)
    for name in ("README.md", *AT_THE_ROOT):
        shutil.copy2(ROOT / name, source / name)
    words = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """The folder that an installation of it is."""
    folder = wheel.parent / "site"
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def said(site: Path, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What Python says in a folder of somebody's own."""
    left_out = ("LABS_DATA", "LABS_EXERCISES")
    plain = {name: value for name, value in os.environ.items() if name not in left_out}
    around = {**plain, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *words], cwd=place, env=around, capture_output=True, text=True, check=False
    )


def test_it_has_all_data_and_notebooks_no_solution_and_is_small_enough(wheel, site):
    assert wheel.stat().st_size < LARGEST
    inside = site / "labsupport"
    for name in bundled.names():
        assert (inside / "data" / name).is_file(), name
    names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (inside / "notebooks").glob("*.ipynb")} == names
    assert not list(site.rglob("solutions"))
    assert not list(site.rglob("tests"))


def test_it_knows_what_it_needs_where_no_pyproject_is(site, tmp_path):
    question = (
        "import json; from labsupport.commands.requirements import INSTALLED, wanted; "
        "print(json.dumps([INSTALLED, *map(str, wanted('test'))]))"
    )
    installed, *needs = json.loads(said(site, tmp_path, "-c", question).stdout)
    assert installed
    assert needs == [str(one) for one in requirements.wanted("test")]


def test_notebooks_are_unpacked_where_one_says_and_later_ones_keep_the_answers(site, tmp_path):
    refused = said(site, tmp_path, "-m", "labsupport", "lab")
    assert refused.returncode == 1
    assert "labsupport lab --into FOLDER" in refused.stderr
    mine = tmp_path / "mine"
    said(site, tmp_path, "-m", "labsupport", "update", "--to", str(mine), "--dry-run")
    assert not mine.exists()
    assert said(site, tmp_path, "-m", "labsupport", "update", "--to", str(mine)).returncode == 0
    assert (mine / LAB).read_bytes() == (site / "labsupport" / LAB).read_bytes()
    notebook = notebooks.read(mine / LAB)
    _, cell = next(notebooks.exercise_cells(notebook))
    cell["source"] = "def hide(image, box, colour):\n    return image"
    notebooks.write(notebook, mine / LAB)
    again = said(site, tmp_path, "-m", "labsupport", "update", "--to", str(mine))
    assert again.stdout == "All is as new as there.\n"
    assert "return image" in (mine / LAB).read_text(encoding="utf-8")
    assert not (mine / "labsupport").exists()


def test_its_data_are_whole_and_its_solutions_elsewhere(site, tmp_path):
    whole = "from labsupport.core import bundled; print(*{str(bundled.path(n).parents[2])"
    found = said(site, tmp_path, "-c", f"{whole} for n in bundled.names()}})")
    assert found.stdout.strip() == str(site / "labsupport"), found.stderr
    solving = said(site, tmp_path, "-m", "labsupport", "solve", "05")
    assert "The solutions are not in this folder" in solving.stderr
