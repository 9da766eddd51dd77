"""Lab 06: a layer's maps as a mosaic to click in, distorted live; one unit from every side."""

from labsupport.labs.lab06_activations.changes import changes_panel, changes_picture
from labsupport.labs.lab06_activations.invariance import (
    depth_panel,
    depth_picture,
    depths_picture,
    similarity_by_depth,
)
from labsupport.labs.lab06_activations.live import live_panel
from labsupport.labs.lab06_activations.mosaics import mosaic_picture, mosaic_plan, unit_over
from labsupport.labs.lab06_activations.one_unit import unit_panel, views_picture
