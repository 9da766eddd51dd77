"""The labs that a run opens in the browser."""

import inspect
import re

import pytest
import touched
from touched import ALWAYS, MOST, NOTEBOOKS, ROOT, opened

from labsupport.ui import declare

DECLARED = ["panel", "live"] + [
    name
    for name, one in vars(declare).items()
    if inspect.isfunction(one) and one.__annotations__.get("return") == "Any"
]
KINDS = rf"(?:= |@|controls\.|declare\.)({'|'.join(DECLARED)})\(|\b(UnitPicker)\("


def kinds(number: str) -> set[str]:
    """The kinds of panels and controls that a lab's code declares."""
    files = (ROOT / "labsupport" / "labs").rglob("*.py")
    own = [path for path in files if f"labs/lab{number}" in path.as_posix()]
    return {
        "".join(words)
        for path in own
        for words in re.findall(KINDS, path.read_text(encoding="utf-8"))
    }


def test_three_labs_have_every_kind_of_control():
    everywhere = set().union(*(kinds(path.name[:2]) for path in NOTEBOOKS))
    assert len(everywhere) > 12
    assert set().union(*map(kinds, ALWAYS)) == everywhere


def numbers(files: set[str], monkeypatch) -> list[str]:
    monkeypatch.setattr(touched, "changes", lambda: files)
    monkeypatch.delenv("LABS_TESTS", raising=False)
    return [path.name[:2] for path in opened()]


@pytest.mark.parametrize(
    ("file", "also"),
    [
        ("README.md", []),
        ("notebooks/12_fooling.ipynb", ["12"]),
        ("notebooks/solutions/12_1_fgsm.py", []),
        ("labsupport/labs/lab05_occlusion.py", ["05"]),
        ("labsupport/labs/lab10_deepdream/films.py", ["10"]),
        ("labsupport/methods/occlusion.py", ["05", "14"]),
        ("labsupport/methods/dream/deepdream.py", ["10", "14"]),
    ],
)
def test_what_a_change_touches_is_opened_too(file, also, monkeypatch):
    assert numbers({file}, monkeypatch) == sorted([*ALWAYS, *also])


def test_a_change_to_all_labs_opens_some_and_all_opens_all(monkeypatch):
    assert len(numbers({str(path.relative_to(ROOT)) for path in NOTEBOOKS}, monkeypatch)) == MOST
    monkeypatch.setenv("LABS_TESTS", "all")
    assert opened() == NOTEBOOKS


def test_without_git_three_are_opened(monkeypatch):
    monkeypatch.delenv("LABS_TESTS", raising=False)
    monkeypatch.setenv("PATH", "")
    assert [path.name[:2] for path in opened()] == list(ALWAYS)
