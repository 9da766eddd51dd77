"""Exercises as a notebook sees them: check an answer, get help, keep count, predict and look."""

from labsupport.ui.checking.checking import (
    NotAsExpected,
    check,
    hint,
    progress,
    solution,
    use,
    verdict_on,
)
from labsupport.ui.checking.judging import Case, Exercise, Law, Mistake, Verdict, judge
from labsupport.ui.checking.quiz import Question, predict, reveal

__all__ = [
    "Case",
    "Exercise",
    "Law",
    "Mistake",
    "NotAsExpected",
    "Question",
    "Verdict",
    "check",
    "hint",
    "judge",
    "predict",
    "progress",
    "reveal",
    "solution",
    "use",
    "verdict_on",
]
