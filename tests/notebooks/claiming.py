"""What a lab's text says of its numbers is asserted in its own kernel, after its last cell.

`claims/labNN.py` holds a lab's claims: each quotes a sentence of the notebook, word for word, and
takes what it needs by name from the notebook's variables. `test_execution.py` puts `check_all(...)`
behind the cells; `test_structure.py` looks whether the quoted sentences are still there.
"""

import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labsupport.commands.notebooks import read, text_of

CLAIMS = Path(__file__).parent / "claims"


@dataclass(frozen=True)
class Claims:
    """One lab's claims, in the order of the file.

    `elsewhere` has the sentences with numbers that no run can check, each with the reason: a
    paper's figure, a count in the text itself. `given` makes, of the notebook's variables, those
    that the fold "In plain PyTorch" asks its reader to have; what it computes is `plain`.
    """

    elsewhere: Mapping[str, str] = field(default_factory=dict)
    given: Callable[[Mapping[str, object]], dict[str, object]] = lambda names: {}
    known: dict[str, Callable[..., object]] = field(default_factory=dict)

    def claim(self, *sentences: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
        """Register a function of the notebook's variables that asserts these sentences."""

        def register(test: Callable[..., object]) -> Callable[..., object]:
            self.known.update(dict.fromkeys(sentences, test))
            return test

        return register

    def faults(self, names: Mapping[str, object]) -> list[str]:
        """The sentences that do not hold for these variables, each with what was wrong."""
        found = []
        for test in dict.fromkeys(self.known.values()):
            quoted = next(words for words, one in self.known.items() if one is test)
            wanted = inspect.signature(test).parameters
            try:
                test(**{name: names[name] for name in wanted})
            except KeyError as error:
                found.append(f"{quoted!r}: the notebook has no {error}")
            except AssertionError as error:
                found.append(f"{quoted!r} does not hold: {error}")
        return found


def claims_of(notebook: str) -> Claims:
    """The claims of a notebook by its name, such as "05_occlusion"; none where it has no file."""
    path = CLAIMS / f"lab{notebook[:2]}.py"
    if not path.exists():
        return Claims()
    made = importlib.util.spec_from_file_location(f"claims_of_{path.stem}", path)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    claims = module.claims
    assert isinstance(claims, Claims)
    return claims


def check_all(notebook: str, path: Path, names: Mapping[str, object]) -> None:
    """Run the fold in plain PyTorch; raise with every claim of the notebook that does not hold."""
    claims = claims_of(notebook)
    computed = claims.given(names)
    for cell in read(path)["cells"]:
        if code := plain_code(text_of(cell)):
            exec(compile(code, "In plain PyTorch", "exec"), computed)
    found = claims.faults({**names, "plain": computed})
    if found:
        raise AssertionError("\n".join(found))


def plain_code(text: str) -> str:
    """The code of a fold "In plain PyTorch"; "" in any other cell."""
    fold = re.search(
        r"<details><summary>In plain PyTorch</summary>.*?```python\n(.*?)```", text, re.S
    )
    return fold[1] if fold else ""


def plain(text: str) -> str:
    """Markdown in one line, without emphasis."""
    return re.sub(r"\s+", " ", re.sub(r"[*_`]", "", text)).strip()


NUMBER = re.compile(r"(?<![\w.^{$-])(?!(?:19|20)\d\d\b)\d+(?:[.,]\d+)?(?![\w^}])")
NAMED = re.compile(
    r"(?i)\b(labs?|exercises?|topics?|figures?|questions?|steps?|sections?) \d[\d.]*"
)


def with_numbers(text: str) -> list[str]:
    """The sentences of a text that state a number; a year or the number of a lab is none."""
    without_math = re.sub(r"\$[^$]*\$|`[^`]*`|\]\([^)]*\)", " ", text)
    lines = re.split(r"(?<=[.!?:;])\s+|\n[-*|] |\n\n", without_math)
    return [plain(line).lstrip("-| ") for line in lines if NUMBER.search(NAMED.sub("", line))]


def said(text: str) -> list[str]:
    """The folded answers of a text, and its recap."""
    folded = re.findall(r"<details><summary>(?!In plain).*?</summary>(.*?)</details>", text, re.S)
    return [*folded, *re.findall(r"\n## Recap\n(.*?)(?=\n## |\Z)", text, re.S)]


def unchecked(text: str, claims: Claims) -> list[str]:
    """The sentences with numbers in the answers and the recap of a notebook that nobody checks."""
    known = [plain(words) for words in (*claims.known, *claims.elsewhere)]
    return [
        sentence
        for part in said(text)
        for sentence in with_numbers(part)
        if not any(words in sentence or sentence in words for words in known)
    ]


def no_longer_there(text: str, claims: Claims) -> list[str]:
    """The quoted sentences that the notebook does not have."""
    whole = plain(text)
    return [words for words in (*claims.known, *claims.elsewhere) if plain(words) not in whole]
