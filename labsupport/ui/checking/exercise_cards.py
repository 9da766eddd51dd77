"""The cards of an exercise: a verdict, hints, the solution, and how far a student has come."""

from collections.abc import Sequence
from typing import Literal

from labsupport.ui.checking.cards import Card, Mood, code_block, fold_html, inline, preformatted
from labsupport.ui.checking.judging import Exercise, State, Verdict

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


def progress_card(rows: Sequence[tuple[Exercise, Standing]]) -> Card:
    """All exercises, lab by lab, and how each stands."""
    solved = sum(standing == "right" for _, standing in rows)
    labs: dict[str, list[str]] = {}
    for exercise, standing in rows:
        sign, words = _STANDING_WORDS[standing]
        line = f"{sign} {exercise.id} {exercise.title}: {words}"
        labs.setdefault(exercise.id.split(".")[0], []).append(line)
    facts = tuple(
        (f"Lab {lab}", "; ".join(lines), "<br>".join(map(inline, lines)))
        for lab, lines in labs.items()
    )
    mood: Mood = "right" if rows and solved == len(rows) else "note"
    return Card(mood, "Your progress", f"{solved} of {len(rows)} exercises are right", facts=facts)
