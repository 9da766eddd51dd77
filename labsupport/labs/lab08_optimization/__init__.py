"""Lab 08 and those after it: pictures that grow under a gradient, live and kept ones."""

from labsupport.labs.lab08_optimization.saliency import (
    map_panel,
    reductions,
    scenes_picture,
    segment_panel,
)
from labsupport.labs.lab08_optimization.visualization import (
    class_objective,
    class_panel,
    kept,
    kept_gallery,
    kept_units,
    on_white,
    unit_layers,
    unit_panel,
)
