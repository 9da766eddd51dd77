"""Codes: an image as a point in representation space, and maps of that space.

Just before its classifier a network has turned every image into a vector, its code (4096 numbers at
fc7 of AlexNet). Two images are alike to the network if their codes are near. t-SNE (van der Maaten
and Hinton, "Visualizing data using t-SNE", JMLR 2008) lays the codes out in a plane; Karpathy's
cnnembed (2014) puts the images themselves there."""

from labsupport.methods.codes.space import (
    LARGEST_GRID,
    METHODS,
    METRICS,
    Embedding,
    Grid,
    Images,
    Neighbours,
    Progress,
    Seams,
    affinities,
    code_layer,
    codes,
    codes_by_layer,
    divergence,
    embed,
    embedding_frames,
    fitted,
    grid,
    grid_shape,
    label_agreement,
    neighbours,
    pixel_codes,
    place,
    seams,
    trustworthiness,
)
