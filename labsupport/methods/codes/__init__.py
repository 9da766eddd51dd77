"""Codes: an image as a point in representation space, and maps of that space.

Just before its classifier a network has turned every image into a vector, its code (4096 numbers at
fc7 of AlexNet). Two images are alike to the network if their codes are near. t-SNE (van der Maaten
and Hinton, "Visualizing data using t-SNE", JMLR 2008) lays the codes out in a plane; Karpathy's
cnnembed (2014) puts the images themselves there.
"""

from labsupport.core import modes
from labsupport.methods.codes.distances import (
    METRICS,
    Neighbours,
    label_agreement,
    neighbours,
    trustworthiness,
)
from labsupport.methods.codes.extraction import (
    Images,
    code_layer,
    codes,
    codes_by_layer,
    fitted,
    pixel_codes,
)
from labsupport.methods.codes.grids import LARGEST_GRID, Grid, UMatrix, grid, grid_shape, u_matrix
from labsupport.methods.codes.maps import Embedding, affinities, divergence, embed, place_in_map

modes.keep(__name__)
