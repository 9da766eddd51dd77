"""Lab 08 and those after it: pictures that grow under a gradient, live and kept ones."""

from labsupport.labs.lab08_optimization.saliency import (
    map_panel,
    opinion_panel,
    reductions,
    scenes_picture,
    segment_panel,
)
from labsupport.labs.lab08_optimization.visualization import (
    both_panel,
    class_objective,
    class_panel,
    kept,
    kept_gallery,
    kept_units,
    lecture_classes,
    unit_layers,
    unit_panel,
)
