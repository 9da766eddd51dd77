"""Lab 04: images at the places of their codes, grids with borders, and t-SNE while it works."""

from labsupport.labs.lab04_representation.atlas import (
    atlas_panel,
    neighbours_panel,
    with_new_pictures,
)
from labsupport.labs.lab04_representation.maps import (
    Collection,
    collection,
    grid_picture,
    image_map,
    map_words,
)
from labsupport.labs.lab04_representation.tsne import (
    TOYS,
    bundled_map,
    digits_panel,
    draw_digits,
    layers_panel,
    map_panel,
    toy_maps,
)
