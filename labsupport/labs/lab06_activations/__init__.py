"""Lab 06: a layer's maps as a mosaic to click in, distorted live; one unit from every side."""

from labsupport.labs.lab06_activations.invariance import (
    changes_panel,
    changes_picture,
    depth_panel,
    depth_picture,
    depths_picture,
    similarity_by_depth,
)
from labsupport.labs.lab06_activations.mosaics import (
    UnitPicker,
    live_panel,
    mosaic_picture,
    mosaic_plan,
)
from labsupport.labs.lab06_activations.one_unit import unit_panel, views_picture
