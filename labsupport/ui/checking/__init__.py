"""Exercises as a notebook sees them: check an answer, get help, keep count, predict and look."""

from labsupport.ui.checking.cards import Question, Right
from labsupport.ui.checking.judging import Case, Cases, Exercise, Function, Verdict, judge
from labsupport.ui.checking.session import ExerciseSet, NotAsExpected, Session
