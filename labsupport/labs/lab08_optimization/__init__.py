"""Lab 08 and those after it: pictures that grow under a gradient, live, on boards, in galleries."""

from labsupport.labs.lab08_optimization.saliency import (
    map_panel,
    opinion_panel,
    reductions,
    scenes_picture,
    segment_panel,
)
from labsupport.labs.lab08_optimization.visualization import (
    class_objective,
    class_panel,
    gallery_panel,
    gallery_picture,
    lecture_classes,
    unit_layers,
    unit_panel,
)
