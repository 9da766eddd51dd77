"""Saliency: the gradient of a score as a heat map, and the object that it finds.

Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks: visualising image
classification models and saliency maps", 2013, section 3: one backward pass says which pixels need
to be changed least to change the score most. Where these pixels are, there is the object; GrabCut
(Rother, Kolmogorov and Blake, SIGGRAPH 2004) turns them into a mask and a box, although the network
was never told where anything is.
"""

from labsupport.methods.saliency.composing import Scene, compose, scenes
from labsupport.methods.saliency.evaluation import (
    Localization,
    compare_methods,
    localization,
)
from labsupport.methods.saliency.grabcut import Segmentation, segment, threshold
from labsupport.methods.saliency.maps import REDUCTIONS, saliency_map
from labsupport.methods.saliency.masks import (
    box_iou,
    box_of,
    largest_component,
    mask_iou,
)
