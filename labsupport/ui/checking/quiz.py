"""Questions to answer before looking, and text that is folded until then."""

import hashlib
import html
from dataclasses import KW_ONLY, dataclass

from IPython.display import Markdown

from labsupport.core.errors import BadSetting
from labsupport.ui.checking.cards import OWN_KEYS, SIGNS, fold_html, framed, inline, plain, show

# The answer appears through `:checked` alone, so it also works in an exported page.
_STYLE = """
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
        return _STYLE + framed(head + body, "note")

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
