"""What every notebook is like. The rules are read off a template where they can be: its sections
in their order, which of them hold code, the tags, the metadata, the first cell's labels."""

import ast
import json
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote

import nbformat

from labsupport.commands.notebooks import Cell, Notebook, exercise_cells, read, tags, text_of
from labsupport.commands.solve import is_stub
from labsupport.core.errors import LabError
from labsupport.labs.exercises import exercises_of, find, questions_of, solution_file

HERE = Path(__file__).parent
NOTEBOOKS = sorted((HERE.parents[1] / "notebooks").glob("*.ipynb"))
TEMPLATES = [HERE / "template.ipynb", HERE / "template_short.ipynb"]
TOPICS = "1. <topics>"


@dataclass(frozen=True)
class Limits:
    """What cannot be read off a template, because a template is one notebook of many."""

    cells: tuple[int, int] = (30, 48)
    code_cells: tuple[int, int] = (0, 24)
    panels: tuple[int, int] = (0, 6)
    minutes: tuple[int, int] = (45, 90)
    topics: tuple[int, int] = (3, 5)
    exercises: tuple[int, int] = (2, 5)
    questions: tuple[int, int] = (5, 8)


@dataclass(frozen=True)
class Section:
    """A heading of level two and the cells below it, its own cell first."""

    heading: str
    cells: list[Cell] = field(default_factory=list)

    @property
    def code(self) -> str:
        return "\n".join(text_of(one) for one in self.cells if one["cell_type"] == "code")

    @property
    def prose(self) -> str:
        return "\n\n".join(text_of(one) for one in self.cells if one["cell_type"] == "markdown")


@dataclass(frozen=True)
class Lab:
    """A notebook, read once, with the views that the rules need."""

    path: Path
    notebook: Notebook
    limits: Limits = Limits()

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def cells(self) -> list[Cell]:
        return self.notebook["cells"]

    @cached_property
    def code(self) -> list[Cell]:
        return [one for one in self.cells if one["cell_type"] == "code"]

    @cached_property
    def prose(self) -> str:
        return "\n\n".join(text_of(c) for c in self.cells if c["cell_type"] == "markdown")

    @property
    def minutes(self) -> int:
        """What the first cell promises; 0 where it does not."""
        found = re.search(r"\*\*Time:\*\* (\d+) minutes", text_of(self.cells[0]))
        return int(found[1]) if found else 0

    @cached_property
    def sections(self) -> list[Section]:
        found = [Section("")]
        for cell in self.cells:
            heading = re.match(r"## +(.+)", text_of(cell)) if _is_prose(cell) else None
            if heading:
                found.append(Section(heading[1].strip()))
            found[-1].cells.append(cell)
        return found

    @cached_property
    def topics(self) -> list[Section]:
        return [one for one in self.sections if re.match(r"\d+\. ", one.heading)]

    def section(self, heading: str) -> Section | None:
        return next((one for one in self.sections if one.heading == heading), None)

    @cached_property
    def outline(self) -> list[str]:
        """The headings in order; a run of numbered topics counts as one."""
        names = [TOPICS if one in self.topics else one.heading for one in self.sections[1:]]
        return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]


SHORT = Limits(cells=(10, 45), minutes=(10, 60), topics=(1, 8), exercises=(0, 3), questions=(0, 8))


def template_of(path: Path) -> Path:
    """The template that a notebook follows: 00 and 14 have a lighter one of their own."""
    return TEMPLATES[path.stem[:2] in ("00", "14") or path.stem == "template_short"]


def lab(path: Path, notebook: Notebook | None = None) -> Lab:
    """A notebook by its path; a template stands for the lab 90 or 91."""
    limits = SHORT if template_of(path) == TEMPLATES[1] else Limits()
    number = {"template": "90_template", "template_short": "91_short"}.get(path.stem, path.stem)
    content = read(path) if notebook is None else notebook
    return Lab(path.with_stem(number), content, limits)


def complaints(one: Lab, template: Lab) -> list[str]:
    """Everything that is not as it should be, each with its rule's name before the colon."""
    return [f"{name}: {words}" for name, rule in RULES.items() for words in rule(one, template)]


Rule = Callable[[Lab, Lab], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(check: Rule) -> Rule:
    """Register a rule under its function's name."""
    RULES[check.__name__] = check
    return check


# ---- the file -------------------------------------------------------------------------------


@rule
def valid(one: Lab, template: Lab) -> Iterator[str]:
    version = one.notebook.get("nbformat"), one.notebook.get("nbformat_minor")
    if version != (4, 5):
        yield f"the format is {version}, not (4, 5)"
        return
    try:
        nbformat.validate(nbformat.from_dict(one.notebook))
    except nbformat.ValidationError as error:
        yield str(error).splitlines()[0]


@rule
def cells_are_there(one: Lab, template: Lab) -> Iterator[str]:
    seen: set[str] = set()
    for place, cell in enumerate(one.cells):
        name = cell.get("id", "")
        if not name or name in seen:
            yield f"cell {place} has {'the id of another' if name else 'no id'}"
        seen.add(name)
        if not text_of(cell).strip():
            yield f"cell {place} is empty"


@rule
def metadata(one: Lab, template: Lab) -> Iterator[str]:
    if one.notebook["metadata"] != template.notebook["metadata"]:
        yield f"the notebook's metadata are not just {json.dumps(template.notebook['metadata'])}"
    for place, cell in enumerate(one.cells):
        if set(cell["metadata"]) - {"tags"}:
            yield f"cell {place} has metadata besides tags: {sorted(cell['metadata'])}"


@rule
def known_tags(one: Lab, template: Lab) -> Iterator[str]:
    known = {tag for cell in template.cells for tag in tags(cell)}
    known |= {"setup", "by-hand", "presenter"}
    for cell in one.cells:
        for tag in tags(cell):
            if tag not in known and not re.fullmatch(rf"exercise:{one.number}\.\d", tag):
                yield f"the tag {tag!r} is unknown"


# ---- sections -------------------------------------------------------------------------------


@rule
def opening(one: Lab, template: Lab) -> Iterator[str]:
    first = text_of(one.cells[0]) if one.cells and _is_prose(one.cells[0]) else ""
    title = re.match(r"# Lab (\d\d): \S", first)
    if not title or title[1] != one.number:
        yield f"the first cell does not begin with '# Lab {one.number}: ...'"
    for label in re.findall(r"\*\*([^*]+:)\*\*", text_of(template.cells[0])):
        if f"**{label}**" not in first:
            yield f"the first cell does not say '**{label}** ...'"


@rule
def outline(one: Lab, template: Lab) -> Iterator[str]:
    for there, wanted in zip_longest(one.outline, template.outline, fillvalue="nothing"):
        if there != wanted:
            yield f"where '## {wanted}' is expected there is '{there}'"
            return


@rule
def counts(one: Lab, template: Lab) -> Iterator[str]:
    limits, asked = one.limits, one.section("Questions")
    answers = re.findall(r"<details>(.*?)</details>", asked.prose if asked else "", re.S)
    full = [text for text in answers if re.sub(r"<summary>.*?</summary>", "", text).strip()]
    found = [
        ("minutes in '**Time:** N minutes'", one.minutes, limits.minutes),
        ("topics", len(one.topics), limits.topics),
        ("questions with a folded answer", len(full), limits.questions),
        ("exercises", len(list(exercise_cells(one.notebook))), limits.exercises),
        ("cells", len(one.cells), limits.cells),
        ("cells of code", len(one.code), limits.code_cells),
        (
            "panels",
            len(re.findall(r"\w_panel\(", "\n".join(map(text_of, one.code)))),
            limits.panels,
        ),
    ]
    for heading, few, many in (("You will be able to", 3, 5), ("Recap", 5, 5)):
        section = one.section(heading)
        bullets = len(re.findall(r"^[-*] ", section.prose, re.M)) if section else few
        found.append((f"bullets in '## {heading}'", bullets, (few, many)))
    for what, count, (low, high) in found:
        if not low <= count <= high:
            yield f"{count} {what}, not {low} to {high}"


@rule
def topic_numbers(one: Lab, template: Lab) -> Iterator[str]:
    numbers = [int(section.heading.split(".")[0]) for section in one.topics]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"the topics are numbered {numbers}, not from 1 on"


@rule
def code_where_the_template_has_it(one: Lab, template: Lab) -> Iterator[str]:
    for section in template.sections:
        mine = one.section(section.heading)
        if section.code and mine is not None and not mine.code:
            yield f"'## {section.heading}' has no code"
    yield from (f"'## {topic.heading}' has no code" for topic in one.topics if not topic.code)


@rule
def rhythm(one: Lab, template: Lab) -> Iterator[str]:
    """Each topic of a full lab: by hand, a question, and what one should see, folded."""
    for topic in one.topics if one.limits.questions[0] else []:
        if not any("by-hand" in tags(cell) for cell in topic.cells):
            yield f"'{topic.heading}' has nothing by hand (a cell tagged by-hand)"
        asked = [i for i, cell in enumerate(topic.cells) if _calls(cell, "predict")]
        seen = [i for i, cell in enumerate(topic.cells) if "What you should see" in text_of(cell)]
        if not asked or not seen or min(asked) > max(seen):
            yield f"'{topic.heading}' has no predict(...) with 'What you should see' after it"
    if one.limits.questions[0] and "allclose(" not in "\n".join(map(text_of, one.code)):
        yield "nothing is compared: torch.allclose(by hand, by the tool)"


@rule
def predictions(one: Lab, template: Lab) -> Iterator[str]:
    """Each question of the lab's module is asked once: no answer can be read in the notebook."""
    known = list(questions_of(one.number))
    calls = (node for cell in one.code for node in _nodes(cell) if _is_call(node, "predict"))
    asked = [getattr(call.args[0], "value", "") if call.args else "" for call in calls]
    if sorted(asked) != sorted(known):
        yield f"the notebook asks the questions {asked}, its module has {known}"


@rule
def folds(one: Lab, template: Lab) -> Iterator[str]:
    for cell in one.cells:
        text = text_of(cell)
        if not _is_prose(cell) or "<details" not in text:
            continue
        whole = re.findall(r"<details><summary>.+?</summary>\n\n.+?\n\n</details>", text, re.S)
        if not len(whole) == text.count("<details") == text.count("</details>"):
            shape = "<details><summary>..</summary>, an empty line, text, an empty line, </details>"
            yield f"a fold in {cell.get('id')} is not {shape}"


@rule
def presenter(one: Lab, template: Lab) -> Iterator[str]:
    marked = [cell for cell in one.cells if "presenter" in tags(cell)]
    if not marked and any("presenter" in tags(cell) for cell in template.cells):
        yield "there is no note for the instructor (a Markdown cell tagged presenter)"
    yield from ("a presenter cell holds code" for cell in marked if not _is_prose(cell))


@rule
def progress_shown(one: Lab, template: Lab) -> Iterator[str]:
    if list(exercise_cells(one.notebook)) and not any(_calls(c, "progress") for c in one.code):
        yield "progress() is not called at the end"


# ---- code -----------------------------------------------------------------------------------


@rule
def code_lines(one: Lab, template: Lab) -> Iterator[str]:
    counts = sorted(_lines(text_of(cell)) for cell in one.code) or [0]
    tenth = statistics.quantiles(counts, n=10, method="inclusive")[-1] if len(counts) > 1 else 0
    figures = (
        ("median", statistics.median(counts), 6),
        ("90 %", tenth, 15),
        ("largest", counts[-1], 25),
    )
    for name, count, most in figures:
        if count > most:
            yield f"code lines in a cell: {name} {count:g}, at most {most}"


@rule
def setup(one: Lab, template: Lab) -> Iterator[str]:
    marked = [cell for cell in one.cells if "setup" in tags(cell)]
    section = one.section("Setup")
    if len(marked) != 1 or marked[0] is not (one.code or [None])[0]:
        yield "the first code cell, and no other, is tagged setup"
    elif section is None or marked[0] not in section.cells or _lines(text_of(marked[0])) > 8:
        yield "the setup cell stands under '## Setup' and has at most 8 lines"


@rule
def code_of_each_cell(one: Lab, template: Lab) -> Iterator[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    outside = {"urllib", "requests", "hub", "subprocess", "urlopen", "urlretrieve"}
    outside |= {"download", "wget"}
    for cell in one.code:
        name, code, nodes = cell.get("id"), text_of(cell), _nodes(cell)
        named = {word for node in nodes for word in _names(node)}
        free = any(tag == "by-hand" or tag.startswith("exercise:") for tag in tags(cell))
        if not nodes:
            yield f"{name} is not plain Python (no !, no %)"
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield f"{name} has an output or a count; strip them"
        if not free and any(isinstance(node, kinds) for node in nodes):
            yield f"{name} defines something and is not tagged by-hand or exercise"
        if re.search(r"https?:|ftp:|www\.", code):
            yield f"{name} has a web address in its code"
        if named & outside or 'weights="torchvision"' in code:
            yield f"{name} reaches outside: {sorted(named & outside)}"
        if {"pyplot", "interact"} & named:
            yield f"{name} uses pyplot or interact; take labsupport.ui.figures, panels"


@rule
def pictures_are_shown(one: Lab, template: Lab) -> Iterator[str]:
    """A cell shows what it ends with: `figures.show` before that needs `display`."""
    for cell in one.code:
        nodes = _nodes(cell)
        last = nodes[0].body[-1] if nodes and isinstance(nodes[0], ast.Module) else None
        for node in nodes:
            if isinstance(node, ast.Expr) and node is not last and _is_show(node.value):
                yield f"{cell.get('id')}: nobody sees `{ast.unparse(node)[:60]}`: display(...)"


def _is_show(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "figures.show"


# ---- exercises ------------------------------------------------------------------------------


@rule
def exercise_numbers(one: Lab, template: Lab) -> Iterator[str]:
    there = [name for name, _ in exercise_cells(one.notebook)]
    registered = sorted(exercise.id for exercise in exercises_of(one.number))
    if there != registered:
        yield f"the notebook has the exercises {there}, its module {registered}"


@rule
def exercises(one: Lab, template: Lab) -> Iterator[str]:
    """Each stub between its heading and its check, and a solution."""
    for name, cell in exercise_cells(one.notebook):
        try:
            exercise, function = find(name), ast.parse(text_of(cell)).body[0]
            if not is_stub(text_of(cell)) or not ast.get_docstring(function):
                yield f"{name} is not a signature, a docstring, `raise NotImplementedError`"
        except (LabError, SyntaxError, TypeError) as error:
            yield f"{name}: {error}"
            continue
        place = one.cells.index(cell)
        heading = f"### Exercise {name}: {exercise.title} ({exercise.minutes} minutes)"
        check = f'check("{name}", {exercise.function})'
        for near, wanted in ((one.cells[place - 1], heading), (one.cells[place + 1], check)):
            if not text_of(near).startswith(wanted):
                yield f"beside {name} there is no '{wanted}'"
        if solution_file(exercise) is None:
            yield f"{name} has no solution"


@rule
def exercises_are_used_through_use(one: Lab, template: Lab) -> Iterator[str]:
    """A stub that is called bare stops the notebook: `f = use("05.2", f)` comes first."""
    for name, cell in exercise_cells(one.notebook):
        body = ast.parse(text_of(cell)).body
        function = next((n.name for n in body if isinstance(n, ast.FunctionDef)), None)
        for later in one.code[one.code.index(cell) + 1 :]:
            if f'{function} = use("{name}", {function})' in text_of(later):
                break
            if function in _bare_names(later):
                yield f"{later.get('id')} uses {function} before `{function} = use(...)`"


# ---- links ----------------------------------------------------------------------------------


@rule
def links(one: Lab, template: Lab) -> Iterator[str]:
    anchors = {
        re.sub(r"\s", "-", text.strip()) for text in re.findall(r"^#+ +(.+)$", one.prose, re.M)
    }
    for mark, words, address in re.findall(r"(!?)\[([^]]*)\]\(([^) ]+)[^)]*\)", one.prose):
        place, _, anchor = unquote(address).partition("#")
        if not words.strip():
            yield f"the {'picture' if mark else 'link'} {address} has no words"
        if re.match(r"[a-z]+:", place):
            continue
        if place and not (one.path.parent / place).exists():
            yield f"{address} leads nowhere"
        if not place and anchor not in anchors:
            yield f"there is no heading #{anchor}"


# ---- reading cells --------------------------------------------------------------------------


def _is_prose(cell: Cell) -> bool:
    return cell["cell_type"] == "markdown"


def _lines(code: str) -> int:
    """Lines that hold something else than a comment."""
    return sum(bool(re.match(r"\s*[^\s#]", line)) for line in code.splitlines())


def _nodes(cell: Cell) -> list[ast.AST]:
    if cell["cell_type"] != "code":
        return []
    try:
        return list(ast.walk(ast.parse(text_of(cell))))
    except SyntaxError:
        return []


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [part for alias in node.names for part in alias.name.split(".")]
    if isinstance(node, ast.ImportFrom):
        return [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    return [
        getattr(node, key) for key in ("id", "attr") if isinstance(getattr(node, key, None), str)
    ]


def _calls(cell: Cell, name: str) -> bool:
    return any(_is_call(node, name) for node in _nodes(cell))


def _is_call(node: ast.AST, name: str) -> bool:
    """`predict(...)` or `ui.predict(...)`, but not `network.predict(...)`."""
    called = getattr(node, "func", None)
    if isinstance(called, ast.Attribute):
        return called.attr == name and getattr(called.value, "id", None) == "ui"
    return isinstance(called, ast.Name) and called.id == name


def _bare_names(cell: Cell) -> set[str]:
    """Names that are read, but for those handed to check, use and the other helpers."""
    nodes = _nodes(cell)
    helpers = ("check", "use")
    calls = [n for n in nodes if isinstance(n, ast.Call) and getattr(n.func, "id", "") in helpers]
    handed = {id(argument) for call in calls for argument in call.args}
    return {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in handed}
