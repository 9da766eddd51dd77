"""Every notebook is built like its template, and each rule refuses a notebook that breaks it."""

import copy
import importlib.util
import re
from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
from notebook_rules import NOTEBOOKS, RULES, TEMPLATES, complaints, lab, template_of


@pytest.mark.parametrize("path", [*TEMPLATES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_notebook_keeps_every_rule(path: Path):
    found = complaints(lab(path), lab(template_of(path)))
    assert found == [], "\n" + "\n".join(found)


# ---- mutants: the template, broken in one place ---------------------------------------------


class Mutant:
    """A copy of the template's cells to be broken."""

    def __init__(self) -> None:
        self.notebook = copy.deepcopy(lab(TEMPLATES[0]).notebook)
        self.cells = self.notebook["cells"]

    def cell(self, name: str) -> dict:
        return next(one for one in self.cells if one["id"] == name)

    def place(self, name: str) -> int:
        return self.cells.index(self.cell(name))

    def edit(self, name: str, old: str, new: str) -> None:
        source = "".join(self.cell(name)["source"])
        assert old in source, f"{old!r} is not in {name}"
        self.cell(name)["source"] = source.replace(old, new)

    def add(self, name: str, *lines: str, tags: tuple[str, ...] = (), kind: str = "code") -> None:
        cell = {"cell_type": kind, "id": "new", "metadata": {"tags": list(tags)} if tags else {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cell["source"] = "\n".join(lines)
        self.cells.insert(self.place(name) + 1, cell)

    def drop(self, *names: str) -> None:
        for name in names:
            self.cells.remove(self.cell(name))


# a rule, and words of its complaint: what it must refuse
MUTANTS = {
    "valid": [
        lambda m: m.notebook.update(nbformat=3),
        lambda m: m.cell("slide").update(cell_type="program"),
    ],
    "cells_are_there": [
        lambda m: m.cell("slide").update(id="setup"),
        lambda m: m.cell("slide").pop("id"),
        lambda m: m.add("slide", " "),
    ],
    "metadata": [
        lambda m: m.notebook["metadata"].update(widgets={}),
        lambda m: m.notebook["metadata"]["kernelspec"].update(name="my-env"),
        lambda m: m.notebook["metadata"]["language_info"].update(version="3.11.7"),
        lambda m: m.cell("slide")["metadata"].update(collapsed=True),
    ],
    "code_of_each_cell: has an output": [
        lambda m: m.cell("slide").update(execution_count=3),
        lambda m: m.cell("slide").update(
            outputs=[{"output_type": "stream", "name": "stdout", "text": "5"}]
        ),
    ],
    "known_tags": [
        lambda m: m.cell("slide")["metadata"].update(tags=["by-hands"]),
        lambda m: m.cell("exercise-1-cell")["metadata"].update(tags=["exercise:05.1"]),
    ],
    "opening": [
        lambda m: m.edit("title", "# Lab 90", "# Lab 09"),
        lambda m: m.edit("title", "**You need to know:**", "You need to know:"),
        lambda m: m.drop("title"),
    ],
    "counts: minutes": [
        lambda m: m.edit("title", "45 minutes", "100 minutes"),
        lambda m: m.edit("title", "45 minutes", "an hour"),
    ],
    "outline": [
        lambda m: m.drop("recap"),
        lambda m: m.edit("wrong", "## What can go wrong", "## What may go wrong"),
        lambda m: m.add("recap", "## More", kind="markdown"),
        lambda m: m.cells.append(m.cells.pop(m.place("reading"))),
    ],
    "topic_numbers": [
        lambda m: m.edit("topic-2", "## 2. ", "## 3. "),
        lambda m: m.edit("topic-1", "## 1. ", "## 0. "),
    ],
    "counts: topics": [lambda m: m.drop("topic-3", "topic-2")],
    "counts: exercises": [lambda m: m.drop("exercise-2-cell")],
    "code_where_the_template_has_it": [
        lambda m: m.drop("paper-check-numbers"),
        lambda m: m.drop("wrong-look"),
        lambda m: m.drop("shrink-by-hand", "shrink-by-tool", "topic-3-question"),
    ],
    "counts: bullets": [
        lambda m: m.edit("recap", "- A stride can hide what lies between its places.", ""),
        lambda m: m.edit("goals", "- **slide**", "**slide**"),
    ],
    "rhythm": [
        lambda m: m.cell("box-by-hand").update(metadata={}),
        lambda m: m.drop("topic-2-question"),
        lambda m: m.drop("topic-1-answer"),
        lambda m: [m.edit(c, "allclose", "equal") for c in ("pool-by-network", "box-by-tool")],
    ],
    "predictions": [
        lambda m: m.edit("topic-1-question", "q1", "q9"),
        lambda m: m.drop("topic-3-question"),
    ],
    "counts: questions": [
        lambda m: m.edit("questions", "<summary>Answer</summary>\n\n28.", "<summary>A</summary>"),
        lambda m: m.edit("questions", "<details>", "<p>"),
    ],
    "folds": [
        lambda m: m.edit("topic-1-answer", "</details>", ""),
        lambda m: m.edit("topic-1-answer", "</summary>\n\n", "</summary>\n"),
        lambda m: m.edit("topic-1-answer", "<summary>", "<em>"),
    ],
    "presenter": [
        lambda m: m.drop("presenter-opening"),
        lambda m: m.add("slide", "1 + 1", tags=("presenter",)),
    ],
    "progress_shown": [lambda m: m.edit("progress", "progress()", "1")],
    "counts: cells": [
        lambda m: [m.add("slide", "1") for _ in range(20)],
        lambda m: m.drop(*[c["id"] for c in m.cells[1:20]]),
    ],
    "pictures_are_shown": [
        lambda m: m.add("slide", 'figures.show(toy, alt="a")', "1"),
        lambda m: m.add("slide", "for one in toy:", '    figures.show(one, alt="a")'),
    ],
    "code_lines": [
        lambda m: m.add("slide", *["x = 1"] * 26),
        lambda m: [m.add("slide", *["x = 1"] * 16) for _ in range(6)],
        lambda m: [m.add("slide", *["x = 1"] * 7) for _ in range(30)],
    ],
    "setup": [
        lambda m: m.edit("setup", "import torch\n", "import torch\n" + "a = 1\n" * 4),
        lambda m: m.cell("setup").update(metadata={}),
        lambda m: m.cell("slide").update(metadata={"tags": ["setup"]}),
        lambda m: m.add("goals", "1 + 1"),
    ],
    "code_of_each_cell: not plain": [
        lambda m: m.add("slide", "!pip install einops"),
        lambda m: m.add("slide", "%matplotlib inline"),
        lambda m: m.add("slide", "x = = 1"),
    ],
    "code_of_each_cell: defines": [
        lambda m: m.cell("slide").update(metadata={}),
        lambda m: m.add("slide", "class Window:", "    pass"),
        lambda m: m.add("slide", "if True:", "    def f(): ..."),
    ],
    "code_of_each_cell: web|outside": [
        lambda m: m.add("slide", 'address = "https://example.org/a.png"'),
        lambda m: m.add("slide", "import urllib.request"),
        lambda m: m.add("slide", 'torch.hub.load("a", "b")'),
        lambda m: m.add("slide", 'networks.load("alexnet", weights="torchvision")'),
    ],
    "code_of_each_cell: pyplot": [
        lambda m: m.add("slide", "import matplotlib.pyplot as plt"),
        lambda m: m.add("slide", "from matplotlib import pyplot"),
        lambda m: m.add("slide", "widgets.interact(slide)"),
    ],
    "exercise_numbers": [
        lambda m: m.drop("exercise-2-cell"),
        lambda m: m.cell("exercise-2-cell")["metadata"].update(tags=["exercise:90.3"]),
    ],
    "exercises: ": [
        lambda m: m.edit("exercise-1-cell", "raise NotImplementedError", "return row"),
        lambda m: m.edit("exercise-1-cell", "    raise", "    row += 1\n    raise"),
        lambda m: m.edit("exercise-1-cell", '    """The average', '    words = """The average'),
        lambda m: m.edit("exercise-1-cell", "def ", "def other(): ...\n\n\ndef "),
    ],
    "exercises: ### Exercise": [
        lambda m: m.edit("exercise-1", "6 minutes", "5 minutes"),
        lambda m: m.edit("exercise-1", "A moving average", "The moving average"),
        lambda m: m.add("exercise-1", "1"),
    ],
    "exercises: check": [
        lambda m: m.add("exercise-1-cell", "1"),
        lambda m: m.edit("exercise-1-check", "90.1", "90.2"),
        lambda m: m.edit("exercise-1-check", ", moving_average", ""),
    ],
    "exercises: no exercise": [
        lambda m: m.cell("exercise-2-cell")["metadata"].update(tags=["exercise:90.3"]),
    ],
    "exercises_are_used_through_use": [
        lambda m: m.edit("exercise-1-use", 'use("90.1", moving_average)', "moving_average"),
        lambda m: m.add("exercise-2-check", "strongest(maps[1])"),
    ],
    "links": [
        lambda m: m.edit("next", "#1.-A-window-slides", "#1.-No-such-heading"),
        lambda m: m.edit("next", "#1.-A-window-slides", "99_missing.ipynb"),
        lambda m: m.edit("reading", "[A guide to convolution arithmetic]", "[]"),
        lambda m: m.edit("reading", "- Dumoulin", "![](template.ipynb)\n- Dumoulin"),
    ],
}  # fmt: skip
CASES = [(name, i) for name, breaks in MUTANTS.items() for i in range(len(breaks))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_text_calls_is_there(path: Path):
    """A call in a text, say of `lab05.part_changes`, begins with a name of that notebook's code."""
    cells = nbformat.read(path, as_version=4).cells
    code = " ".join(cell.source for cell in cells if cell.cell_type == "code")
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    called = set(re.findall(r"`(\w+)\.\w+\(", texts)) - set(re.findall(r"\w+", code))
    assert [name for name in called if importlib.util.find_spec(name) is None] == []


def test_every_rule_has_its_mutants():
    assert {key.partition(": ")[0] for key in MUTANTS} == set(RULES)


@pytest.mark.parametrize(("key", "index"), CASES)
def test_the_rule_refuses_its_mutant(key: str, index: int):
    mutant = Mutant()
    MUTANTS[key][index](mutant)
    name, _, words = key.partition(": ")
    found = list(RULES[name](lab(TEMPLATES[0], mutant.notebook), lab(TEMPLATES[0])))
    assert any(re.search(words, complaint) for complaint in found), found


def test_a_missing_solution_is_noticed(monkeypatch):
    monkeypatch.setattr(rules, "solution_file", lambda exercise: None)
    found = list(RULES["exercises"](lab(TEMPLATES[0]), lab(TEMPLATES[0])))
    assert found == ["90.1 has no solution", "90.2 has no solution"]


def test_notebooks_that_link_to_each_other_are_followed(tmp_path):
    mutant = Mutant()
    mutant.edit("next", "#1.-A-window-slides", "05_occlusion.ipynb#Setup")
    rule, here = RULES["links"], tmp_path / "90_template.ipynb"
    assert list(rule(lab(here, mutant.notebook), lab(TEMPLATES[0])))
    (tmp_path / "05_occlusion.ipynb").touch()
    assert not list(rule(lab(here, mutant.notebook), lab(TEMPLATES[0])))
