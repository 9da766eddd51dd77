"""Cards, as HTML and as plain text: a verdict, hints, the solution, how far a student has come,
and questions to answer before looking."""

import hashlib
import html
import itertools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pygments  # type: ignore[import-untyped]
from IPython.display import display
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]

from labsupport.core.errors import BadSetting
from labsupport.ui.checking.judging import Exercise, State, Verdict

Mood = Literal["right", "wrong", "open", "note", "question"]

# JupyterLab's shortcuts stay out of the element with this attribute: its keys are its own.
OWN_KEYS = 'data-lm-suppress-shortcuts="true"'
SIGNS: dict[Mood, str] = {"right": "✓", "wrong": "✗", "open": "○", "note": "i", "question": "?"}

# The text keeps the theme's own colour; the accents have a contrast of at least 4.5 with their
# white signs. What is marked `!important` stands against JupyterLab's rules for rendered HTML.
STYLE = """
.lab-card{--a:#0b62a8;max-width:46em;margin:.3em 0;padding:.7em 1em .75em;border-radius:8px;
 border:1px solid color-mix(in srgb,currentColor 16%,transparent);border-left:5px solid var(--a);
 background:color-mix(in srgb,var(--a) 7%,transparent);
 font:14px/1.5 var(--jp-content-font-family,system-ui,sans-serif);
 color:var(--jp-content-font-color1,inherit);overflow-wrap:break-word}
.lab-right{--a:#1a7f37}.lab-wrong{--a:#a8480b}.lab-open{--a:#5b6470}
.lab-card p{margin:.35em 0 0!important}
.lab-card code{font-size:.93em;background:none!important;padding:0!important;color:inherit}
.lab-head{display:flex;gap:.6em;align-items:center;font-weight:600}
.lab-sign{flex:none;width:1.55em;height:1.55em;border-radius:50%;background:var(--a);color:#fff;
 font:700 13px/1.55em system-ui,sans-serif;text-align:center}
.lab-word{flex:none}.lab-name{font-weight:400;opacity:.85}
.lab-card dl{display:grid;grid-template-columns:max-content 1fr;gap:.3em 1em;margin:.55em 0 0}
.lab-card dt{float:none!important;width:auto!important;margin:0!important;font-weight:400!important;
 opacity:.78}
.lab-card dd{margin:0!important;min-width:0}
.lab-card details{margin-top:.5em}.lab-card summary{cursor:pointer;width:fit-content}
.lab-card summary:focus-visible,.lab-card input:focus-visible{outline:2px solid var(--a);
 outline-offset:3px;border-radius:3px}
.lab-card pre{margin:.5em 0 0!important;padding:.6em .8em!important;border-radius:5px;color:inherit;
 overflow:auto;white-space:pre;overflow-wrap:normal;
 background:color-mix(in srgb,currentColor 6%,transparent)!important;
 font:13px/1.45 var(--jp-code-font-family,monospace)!important}
.lab-card table.lab-numbers{border-collapse:collapse;margin:0 0 .15em!important;display:table;
 table-layout:auto;font:13px/1.4 var(--jp-code-font-family,monospace)}
.lab-card table.lab-numbers tr{background:none!important}
.lab-card table.lab-numbers td{padding:.12em .6em;text-align:right!important;
 border:1px solid color-mix(in srgb,currentColor 22%,transparent)}
.lab-card mark{color:inherit;background:none;font-weight:700;border-bottom:2px solid var(--a)}
.lab-card mark::before{content:"\\2260\\00a0"}
.lab-card caption{caption-side:bottom;text-align:left;white-space:nowrap;opacity:.78}
.lab-card pre [class^=k],.lab-card pre .ow{color:var(--jp-mirror-editor-keyword-color,inherit)}
.lab-card pre [class^=c]{color:var(--jp-mirror-editor-comment-color,inherit)}
.lab-card pre [class^=s]{color:var(--jp-mirror-editor-string-color,inherit)}
.lab-card pre [class^=m]{color:var(--jp-mirror-editor-number-color,inherit)}
.lab-card pre .nf{color:var(--jp-mirror-editor-def-color,inherit)}
.lab-card pre .nb{color:var(--jp-mirror-editor-builtin-color,inherit)}
.lab-options{margin:.45em 0 0;padding:0;border:0;display:grid;
 grid-template-columns:max-content max-content 1fr;gap:.2em .55em;align-items:baseline}
.lab-options label{cursor:pointer;grid-column:2}
.lab-options input{margin:0;accent-color:var(--a);grid-column:1}
.lab-options .lab-said{display:none;font-weight:600}.lab-options .lab-why{display:none;
 grid-column:2/-1;margin:0 0 .3em}
.lab-options input:checked+label+.lab-said,
.lab-options input:checked+label+.lab-said+.lab-why{display:block}
"""

Facts = Sequence[tuple[str, str, str]]  # term, text, HTML that stands for the text


@dataclass(frozen=True)
class Card:
    """A card: a sign and a word, a headline, facts by name, and folded parts."""

    mood: Mood
    word: str
    name: str = ""
    text: str = ""
    facts: Facts = ()
    after: str = ""
    body: str = ""  # HTML between the facts and `after`
    folds: tuple[tuple[str, str], ...] = ()  # (summary, HTML)
    plain_only: tuple[str, ...] = ()  # lines of the plain text that HTML folds away

    def _repr_html_(self) -> str:
        name = f'<span class="lab-name">{inline(self.name)}</span>' if self.name else ""
        return (
            f'<style>{STYLE}</style><div class="lab-card lab-{self.mood}" role="status">'
            f'<div class="lab-head"><span class="lab-sign" aria-hidden="true">{SIGNS[self.mood]}'
            f'</span><span class="lab-word">{html.escape(self.word)}</span>{name}</div>'
            f"{paragraph(self.text)}{listed(self.facts)}{self.body}{paragraph(self.after)}"
            f"{''.join(folded(*fold) for fold in self.folds)}</div>"
        )

    def __repr__(self) -> str:
        head = f"{SIGNS[self.mood]} {self.word}" + (f": {plain(self.name)}" if self.name else "")
        facts = [f"{term}: {plain(text)}" for term, text, _ in self.facts]
        lines = [plain(self.text), *facts, plain(self.after), *self.plain_only]
        return "\n".join([head, *(textwrap.indent(line, "  ") for line in lines if line)])


def show(card: object) -> None:
    """Put a card into the output of the running cell, wherever in the cell the call stands."""
    display(card)  # type: ignore[no-untyped-call]


def paragraph(text: str) -> str:
    """A line of text as a paragraph; "" without."""
    return f"<p>{inline(text)}</p>" if text else ""


def listed(facts: Facts) -> str:
    """Facts as a list of terms."""
    rows = (
        f"<dt>{html.escape(term)}</dt><dd>{own or inline(text)}</dd>" for term, text, own in facts
    )
    return f"<dl>{''.join(rows)}</dl>" if facts else ""


def folded(summary: str, inner: str) -> str:
    """A part that opens on a click or the Enter key."""
    return f"<details><summary {OWN_KEYS}>{inline(summary)}</summary>{inner}</details>"


def code_block(code: str) -> str:
    """Python code; `STYLE` gives it the colours of JupyterLab's own editor in the present theme."""
    spans = pygments.highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))
    return f"<pre>{spans.strip()}</pre>"


def inline(text: str) -> str:
    """A line of text as HTML: `code`, **strong**, *emphasis*; everything else is escaped.

    >>> inline("`a < b` is **not** a*b*c")
    '<code>a &lt; b</code> is <strong>not</strong> a*b*c'
    """
    parts = re.split(r"`([^`]+)`", text)  # text, code, text, code, ...
    parts[::2] = [_emphasized(html.escape(part)) for part in parts[::2]]
    parts[1::2] = [f"<code>{html.escape(part)}</code>" for part in parts[1::2]]
    return "".join(parts)


def _emphasized(text: str) -> str:
    strong = re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<![\w*])\*(\S(?:[^*]*\S)?)\*(?![\w*])", r"<em>\1</em>", strong)


def plain(text: str) -> str:
    """The same line for a terminal: without the marks of emphasis."""
    return re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"\1", text)


# The cards of an exercise

Standing = State | Literal["edited", "not started"]

# its mood, the word of its verdict, the words that stand for it in `progress`
_STANDINGS: dict[Standing, tuple[Mood, str, str]] = {
    "right": ("right", "Right", "right"),
    "wrong": ("wrong", "Not yet", "tried, not right yet"),
    "not done": ("open", "Not done yet", "not done yet"),
    "edited": ("open", "", "edited since its check"),
    "not started": ("open", "", "not started"),
}


def verdict_card(exercise: Exercise, verdict: Verdict) -> Card:
    """What `check` shows."""
    mood, word, _ = _STANDINGS[verdict.state]
    facts = list(verdict.facts)
    if verdict.looks_like:
        strong = f"<strong>{inline(verdict.looks_like)}</strong>"
        facts.append(("Looks like", verdict.looks_like, strong))
    after = "" if verdict.state == "right" else f'Stuck? `hint("{exercise.id}")`'
    if verdict.state == "not done":
        after = f"About {exercise.minutes} minutes. {after}"
    printed = f"<pre>{html.escape(verdict.printed.rstrip())}</pre>"
    folds = (("What your function printed", printed),) if verdict.printed else ()
    return Card(mood, word, exercise.name, verdict.headline, facts, after, folds=folds)


def hint_card(exercise: Exercise, seen: int) -> Card:
    """The hints that were seen; the later ones are folded, each inside the one before."""
    total = len(exercise.hints)
    folds: tuple[tuple[str, str], ...] = ()
    for count in range(total, seen, -1):
        later = "".join(folded(*fold) for fold in folds)
        folds = ((f"Next hint ({count} of {total})", paragraph(exercise.hints[count - 1]) + later),)
    return Card(
        "note",
        "Hint",
        exercise.name,
        facts=[(f"{i + 1} of {total}", exercise.hints[i], "") for i in range(seen)],
        after="" if folds else f'That is the last one. `solution("{exercise.id}")` shows a way.',
        folds=folds,
        plain_only=(f'The next hint: hint("{exercise.id}")',) if folds else (),
    )


def solution_card(exercise: Exercise, code: str | None, *, shown: bool, hints_seen: int) -> Card:
    """The solution: `shown` at once, else folded behind a question; None where there is no file."""
    if code is None:
        text = "The solutions are not in this folder; your instructor has them."
        return Card("note", "No solution here", exercise.name, text)
    block = code_block(code)
    if shown:
        text = "One way to do it; yours may be another."
        return Card("note", "Solution", exercise.name, text, body=block, plain_only=(code,))
    total, text = len(exercise.hints), "Your function is not right yet. Are you sure?"
    if hints_seen < total:
        text += f' There are still hints ({hints_seen} of {total} seen): `hint("{exercise.id}")`.'
    anyway = (f'To see it all the same: solution("{exercise.id}", anyway=True)',)
    folds = (("Yes, show me the solution", block),)
    return Card("open", "Solution", exercise.name, text, folds=folds, plain_only=anyway)


Rows = Sequence[tuple[Exercise, Standing]]


def progress_card(rows: Rows, lab: str = "") -> Card:
    """How the exercises of a lab ("05") stand, with those of the other labs folded; "": all."""
    labs = {name: list(its) for name, its in itertools.groupby(rows, lambda row: row[0].lab)}
    facts = {name: _standing_fact(name, its) for name, its in labs.items()}
    shown = [facts.pop(lab)] if lab in labs else [facts.pop(name) for name in labs]
    own = labs.get(lab, rows)
    folds = ((f"All labs: {_right_of(rows)}", listed([*facts.values()])),) if facts else ()
    words = f"Lab {lab}: {_right_of(own)}" if lab in labs else _right_of(rows)
    mood: Mood = "right" if own and all(standing == "right" for _, standing in own) else "note"
    return Card(mood, "Your progress", words, facts=shown, folds=folds)


def _standing_fact(lab: str, rows: Rows) -> tuple[str, str, str]:
    lines = []
    for exercise, standing in rows:
        mood, _, words = _STANDINGS[standing]
        lines.append(f"{SIGNS[mood]} {exercise.id} {exercise.title}: {words}")
    return f"Lab {lab}", "; ".join(lines), "<br>".join(map(inline, lines))


def _right_of(rows: Rows) -> str:
    solved = sum(standing == "right" for _, standing in rows)
    return f"{solved} of {len(rows)} exercises are right"


# Questions


class Right(str):
    """The option of a question that is its answer."""

    __slots__ = ()


@dataclass(frozen=True)
class Question:
    """A question with options, of which one is `Right`; the answer is folded away.

    It appears through CSS's `:checked` alone, so it also does in an exported page. Raises
    `BadSetting` without options that differ, or without just one right one.

    >>> Question("How many?", ("one", Right("two")), "One and one.").card()
    ? Predict, then look
      How many?
      ( ) one
      ( ) two
    """

    question: str
    options: tuple[str, ...]
    why: str

    def __post_init__(self) -> None:
        right = [option for option in self.options if isinstance(option, Right)]
        if len(right) != 1 or len(set(self.options)) < len(self.options):
            words = "has a tuple of different options, just one of them Right(...)"
            raise BadSetting(f"The question {self.question!r} {words}, not {self.options!r}.")

    @property
    def answer(self) -> str:
        """The right option."""
        return next(option for option in self.options if isinstance(option, Right))

    def card(self) -> Card:
        """What `predict` shows."""
        group = "q" + hashlib.sha256(self.question.encode()).hexdigest()[:10]
        rows = "".join(self._choice(group, place) for place in range(len(self.options)))
        label = html.escape(plain(self.question))
        body = f'<fieldset class="lab-options" aria-label="{label}">{rows}</fieldset>'
        options = tuple(f"( ) {plain(option)}" for option in self.options)
        return Card("question", "Predict, then look", "", self.question, (), "", body, (), options)

    def _choice(self, group: str, place: int) -> str:
        option, name = self.options[place], f"{group}-{place}"
        said, why = f"{SIGNS['right']} Right", self.why
        if option != self.answer:
            said, why = f"{SIGNS['wrong']} Not quite", f"The answer: **{self.answer}**. {self.why}"
        return (
            f'<input type="radio" name="{group}" id="{name}" {OWN_KEYS}>'
            f'<label for="{name}">{inline(option)}</label><span class="lab-said">{said}</span>'
            f'<div class="lab-why" role="status">{inline(why)}</div>'
        )
