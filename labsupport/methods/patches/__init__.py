"""Top patches: the parts of many images that make a unit fire most.

Girshick, Donahue, Darrell and Malik, "Rich feature hierarchies for accurate object detection and
semantic segmentation", CVPR 2014, figure 4: let a unit rank all regions of all images, leave out
what overlaps a better one, and look at the best. Here a region is the receptive field of one
position of a layer, and all units of the layer rank theirs in one pass over the images."""

from labsupport.core import modes
from labsupport.methods.patches.clusters import Cluster, scan
from labsupport.methods.patches.search import (
    TopPatches,
    UnitActivations,
    merge,
    precision_at_k,
    random_directions,
    several_scales,
    top_patches,
    top_patches_by_layer,
    unit_activations,
    units_for,
)

modes.keep(__name__)
