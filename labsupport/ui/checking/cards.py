"""Cards, as HTML and as plain text: a verdict, hints, the solution, how far a student has come;
questions to answer before looking, and text that is folded until then."""

import hashlib
import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from IPython.display import Markdown, display
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]
from pygments.token import Token  # type: ignore[import-untyped]

from labsupport.core.errors import BadSetting
from labsupport.ui.checking.judging import Exercise, State, Verdict

Mood = Literal["right", "wrong", "open", "note"]

# JupyterLab's shortcuts stay out of the element with this attribute: its keys are its own.
OWN_KEYS = 'data-lm-suppress-shortcuts="true"'
SIGNS: dict[Mood, str] = {"right": "✓", "wrong": "✗", "open": "○", "note": "i"}

# The text keeps the theme's own colour; the accents have a contrast of at least 4.5 with their
# white signs. What is marked `!important` stands against JupyterLab's rules for rendered HTML.
STYLE = """
.lab-card{--a:#0b62a8;max-width:46em;margin:.3em 0;padding:.7em 1em .75em;border-radius:8px;
 border:1px solid color-mix(in srgb,currentColor 16%,transparent);border-left:5px solid var(--a);
 background:color-mix(in srgb,var(--a) 7%,transparent);
 font:14px/1.5 var(--jp-content-font-family,system-ui,sans-serif);
 color:var(--jp-content-font-color1,inherit);overflow-wrap:break-word}
.lab-right{--a:#1a7f37}.lab-wrong{--a:#a8480b}.lab-open{--a:#5b6470}.lab-note{--a:#0b62a8}
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
"""


@dataclass(frozen=True)
class Card:
    """A card: a sign and a word, a headline, facts by name, and folded parts."""

    mood: Mood
    word: str
    name: str = ""
    text: str = ""
    facts: tuple[tuple[str, str, str], ...] = ()  # (term, text, HTML that stands for the text)
    after: str = ""
    body: str = ""  # HTML between the facts and `after`
    folds: tuple[tuple[str, str], ...] = ()  # (summary, HTML)
    plain_only: tuple[str, ...] = ()  # lines of the plain text that HTML folds away

    def _repr_html_(self) -> str:
        name = f'<span class="lab-name">{inline(self.name)}</span>' if self.name else ""
        head = (
            f'<div class="lab-head"><span class="lab-sign" aria-hidden="true">{SIGNS[self.mood]}'
            f'</span><span class="lab-word">{html.escape(self.word)}</span>{name}</div>'
        )
        text = f"<p>{inline(self.text)}</p>" if self.text else ""
        after = f"<p>{inline(self.after)}</p>" if self.after else ""
        folds = "".join(fold_html(summary, inner) for summary, inner in self.folds)
        return framed(head + text + _facts(self.facts) + self.body + after + folds, self.mood)

    def __repr__(self) -> str:
        head = f"{SIGNS[self.mood]} {self.word}" + (f": {plain(self.name)}" if self.name else "")
        facts = [f"{term}: {plain(text)}" for term, text, _ in self.facts]
        lines = [plain(self.text), *facts, plain(self.after), *self.plain_only]
        return "\n".join([head, *(textwrap.indent(line, "  ") for line in lines if line)])


def show(card: object) -> None:
    """Put a card into the output of the running cell, wherever in the cell the call stands."""
    display(card)  # type: ignore[no-untyped-call]


def framed(inner: str, mood: Mood) -> str:
    """HTML inside the frame of a card."""
    return f'<style>{STYLE}</style><div class="lab-card lab-{mood}" role="status">{inner}</div>'


def _facts(facts: Iterable[tuple[str, str, str]]) -> str:
    rows = "".join(
        f"<dt>{html.escape(term)}</dt><dd>{table or inline(text)}</dd>"
        for term, text, table in facts
    )
    return f"<dl>{rows}</dl>" if rows else ""


def fold_html(summary: str, inner: str) -> str:
    """A part that opens on a click or the Enter key."""
    return f"<details><summary {OWN_KEYS}>{inline(summary)}</summary>{inner}</details>"


def preformatted(text: str) -> str:
    """Text with its own line breaks, in a fixed-width font."""
    return f"<pre>{html.escape(text.rstrip())}</pre>"


_HUES = (
    (Token.Comment, "comment"),
    (Token.Keyword, "keyword"),
    (Token.Operator.Word, "keyword"),
    (Token.Literal.String, "string"),
    (Token.Literal.Number, "number"),
    (Token.Name.Function, "def"),
    (Token.Name.Builtin, "builtin"),
)


def code_block(code: str) -> str:
    """Python code in the colours that JupyterLab's own editor has in the present theme."""
    parts = []
    for sort, text in PythonLexer().get_tokens(code.strip()):
        hue = next((name for token, name in _HUES if sort in token), "")
        shown = html.escape(text)
        style = f"color:var(--jp-mirror-editor-{hue}-color,inherit)"
        parts.append(f'<span style="{style}">{shown}</span>' if hue else shown)
    return f"<pre>{''.join(parts).rstrip()}</pre>"


def inline(text: str) -> str:
    """A line of text as HTML: `code`, **strong**, *emphasis*; everything else is escaped.

    >>> inline("`a < b` is **not** a*b*c")
    '<code>a &lt; b</code> is <strong>not</strong> a*b*c'
    """
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        f"<code>{html.escape(part[1:-1])}</code>" if part.startswith("`") and len(part) > 2
        else _emphasized(html.escape(part))
        for part in parts
    )  # fmt: skip


def _emphasized(text: str) -> str:
    strong = re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<![\w*])\*(\S(?:[^*]*\S)?)\*(?![\w*])", r"<em>\1</em>", strong)


def plain(text: str) -> str:
    """The same line for a terminal: without the marks of emphasis."""
    return re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"\1", text)


# The cards of an exercise

Standing = State | Literal["edited", "not started"]

_WORDS: dict[State, tuple[Mood, str]] = {
    "right": ("right", "Right"),
    "wrong": ("wrong", "Not yet"),
    "not done": ("open", "Not done yet"),
}
_STANDING_WORDS: dict[Standing, tuple[str, str]] = {
    "right": ("✓", "right"),
    "wrong": ("✗", "tried, not right yet"),
    "edited": ("○", "edited since its check"),
    "not done": ("○", "not done yet"),
    "not started": ("○", "not started"),
}


def verdict_card(exercise: Exercise, verdict: Verdict) -> Card:
    """What `check` shows."""
    mood, word = _WORDS[verdict.state]
    facts = list(verdict.facts)
    if verdict.looks_like:
        strong = f"<strong>{inline(verdict.looks_like)}</strong>"
        facts.append(("Looks like", verdict.looks_like, strong))
    after = ""
    if verdict.state != "right":
        minutes = f"About {exercise.minutes} minutes. " if verdict.state == "not done" else ""
        after = f'{minutes}Stuck? `hint("{exercise.id}")`'
    printed = (("What your function printed", preformatted(verdict.printed)),)
    folds = printed if verdict.printed else ()
    return Card(mood, word, exercise.name, verdict.headline, tuple(facts), after, folds=folds)


def hint_card(exercise: Exercise, seen: int) -> Card:
    """The hints that were seen; the later ones are folded, each inside the one before."""
    total = len(exercise.hints)
    folds: tuple[tuple[str, str], ...] = ()
    for count in range(total, seen, -1):
        later = "".join(fold_html(*fold) for fold in folds)
        hint = f"<p>{inline(exercise.hints[count - 1])}</p>{later}"
        folds = ((f"Next hint ({count} of {total})", hint),)
    return Card(
        "note",
        "Hint",
        exercise.name,
        facts=tuple((f"{i + 1} of {total}", exercise.hints[i], "") for i in range(seen)),
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


def progress_card(rows: Sequence[tuple[Exercise, Standing]], lab: str = "") -> Card:
    """How the exercises of a lab ("05") stand, with those of the other labs folded; "": all."""
    labs: dict[str, list[tuple[Exercise, Standing]]] = {}
    for exercise, standing in rows:
        labs.setdefault(exercise.id.split(".")[0], []).append((exercise, standing))
    facts = {name: _standing_fact(name, its) for name, its in labs.items()}
    seen, others = labs.get(lab), tuple(fact for name, fact in facts.items() if name != lab)
    if seen is None:
        return Card(_mood_of(rows), "Your progress", _right_of(rows), facts=others)
    folds = ((f"All labs: {_right_of(rows)}", _facts(others)),) if others else ()
    words = f"Lab {lab}: {_right_of(seen)}"
    return Card(_mood_of(seen), "Your progress", words, facts=(facts[lab],), folds=folds)


def _standing_fact(lab: str, rows: Sequence[tuple[Exercise, Standing]]) -> tuple[str, str, str]:
    lines = []
    for exercise, standing in rows:
        sign, words = _STANDING_WORDS[standing]
        lines.append(f"{sign} {exercise.id} {exercise.title}: {words}")
    return f"Lab {lab}", "; ".join(lines), "<br>".join(map(inline, lines))


def _right_of(rows: Sequence[tuple[Exercise, Standing]]) -> str:
    solved = sum(standing == "right" for _, standing in rows)
    return f"{solved} of {len(rows)} exercises are right"


def _mood_of(rows: Sequence[tuple[Exercise, Standing]]) -> Mood:
    return "right" if rows and all(standing == "right" for _, standing in rows) else "note"


# Questions

# The answer appears through `:checked` alone, so it also works in an exported page.
_QUESTION_STYLE = """
<style>.lab-card .lab-options{margin:.45em 0 0;padding:0;border:0;display:grid;
 grid-template-columns:max-content max-content 1fr;gap:.2em .55em;align-items:baseline}
.lab-options label{cursor:pointer;grid-column:2}
.lab-options input{margin:0;accent-color:var(--a);grid-column:1}
.lab-options .lab-said{display:none;font-weight:600}.lab-options .lab-why{display:none;
 grid-column:2/-1;margin:0 0 .3em}
.lab-options input:checked+label+.lab-said,
.lab-options input:checked+label+.lab-said+.lab-why{display:block}
.lab-card input.lab-free{font:inherit;width:min(100%,30em);margin-top:.5em;padding:.2em .5em;
 color:inherit;border-radius:4px;border:1px solid color-mix(in srgb,currentColor 35%,transparent);
 background:color-mix(in srgb,currentColor 4%,transparent)}</style>
"""


class Right(str):
    """The option of a question that is its answer."""

    __slots__ = ()


@dataclass(frozen=True)
class Question:
    """A question with options (or, without, a free answer) whose answer is folded away.

    One option is the answer: it is a `Right`, or `answer` says its text again. Raises `BadSetting`
    when the answer is not among the options, or an option stands there twice.

    >>> Question("How many?", ("one", Right("two"))).answer
    'two'
    """

    question: str
    options: tuple[str, ...] = ()
    _: KW_ONLY
    answer: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if len(set(self.options)) < len(self.options):
            raise BadSetting("The options are a list of different texts.")
        right = [str(option) for option in self.options if isinstance(option, Right)]
        if len(right) == 1 and not self.answer:
            object.__setattr__(self, "answer", right[0])
        if self.options and self.answer not in self.options:
            shown = ", ".join(repr(option) for option in self.options)
            raise BadSetting(f"The answer {self.answer!r} is not one of the options: {shown}.")

    def _repr_html_(self) -> str:
        head = (
            '<div class="lab-head"><span class="lab-sign" aria-hidden="true">?</span>'
            f'<span class="lab-word">Predict, then look</span></div><p>{inline(self.question)}</p>'
        )
        body = self._choices() if self.options else self._free()
        return _QUESTION_STYLE + framed(head + body, "note")

    def _choices(self) -> str:
        group = "q" + hashlib.sha256(self.question.encode()).hexdigest()[:10]
        rows = "".join(self._choice(group, i) for i in range(len(self.options)))
        legend = f'<fieldset class="lab-options" aria-label="{html.escape(plain(self.question))}">'
        return f"{legend}{rows}</fieldset>"

    def _choice(self, group: str, index: int) -> str:
        option, name = self.options[index], f"{group}-{index}"
        right = option == self.answer
        said = f"{SIGNS['right']} Right" if right else f"{SIGNS['wrong']} Not quite"
        why = self.why if right else f"The answer: **{self.answer}**. {self.why}"
        return (
            f'<input type="radio" name="{group}" id="{name}" {OWN_KEYS}>'
            f'<label for="{name}">{inline(option)}</label><span class="lab-said">{said}</span>'
            f'<div class="lab-why" role="status">{inline(why)}</div>'
        )

    def _free(self) -> str:
        field = (
            '<input type="text" class="lab-free" aria-label="Your prediction" '
            f'placeholder="Your prediction" {OWN_KEYS}>'
        )
        answer = f"<p><strong>{inline(self.answer)}</strong> {inline(self.why)}</p>"
        return field + fold_html("I have an answer: look", answer)

    def __repr__(self) -> str:
        options = "".join(f"\n  ( ) {plain(option)}" for option in self.options)
        return f"? Predict, then look: {plain(self.question)}{options}"


def reveal(title: str, text: str) -> None:
    """Show Markdown text folded behind its title ("What you should see").

    For text that holds numbers of this run; text that never changes goes into a Markdown cell
    with `<details>`, so that it is there before anything is run.
    """
    summary = f"<summary><strong>{html.escape(title)}</strong></summary>"
    folded = f"<details>{summary}\n\n{text}\n\n</details>"
    show(Markdown(folded))  # type: ignore[no-untyped-call]
