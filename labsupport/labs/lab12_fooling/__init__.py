"""Lab 12: push photographs until the network says something else, and try to undo it."""

from labsupport.labs.lab12_fooling.digits import (
    NOISE,
    adversarial_training_panel,
    digit_lines,
    minimal_perturbation_panel,
    robustness_compared,
    table_rows,
    who_fools_whom,
)
from labsupport.labs.lab12_fooling.evolution import evolution_panel, kinds_picture, three_kinds
from labsupport.labs.lab12_fooling.fooling import (
    defences_compared,
    fooled_picture,
    fooled_words,
    line_panel,
    push_panel,
    save_fooled,
    shares_picture,
)
from labsupport.labs.lab12_fooling.twins import twins_panel
