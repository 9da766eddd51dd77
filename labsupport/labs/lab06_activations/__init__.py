"""Lab 06: a layer's maps as a mosaic to click in, distorted live; one unit from every side."""

from labsupport.labs.lab06_activations.invariance import changes_panel, depth_panel, depths_picture
from labsupport.labs.lab06_activations.mosaics import live_panel
from labsupport.labs.lab06_activations.one_unit import unit_panel
from labsupport.ui.mosaics import mosaic_picture
