"""What a notebook's exercise cells call, for the exercises of this course."""

from labsupport.labs import exercises
from labsupport.ui.checking import Session

_session = Session(exercises)

check = _session.check
hint = _session.hint
predict = _session.predict
progress = _session.progress
solution = _session.solution
use = _session.use
