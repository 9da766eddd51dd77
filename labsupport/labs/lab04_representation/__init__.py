"""Lab 04: images at the places of their codes, grids with borders, and t-SNE while it works."""

from labsupport.labs.lab04_representation.atlas import (
    atlas_panel,
    nearest_others,
    neighbours_panel,
    with_new_pictures,
)
from labsupport.labs.lab04_representation.digit_maps import (
    DIGITS,
    SOURCES,
    Digits,
    bundled_map,
    digit_codes,
    digit_map,
    digits,
    digits_panel,
    draw_digits,
)
from labsupport.labs.lab04_representation.maps import (
    COLOURS,
    category_dots,
    dots,
    grid_picture,
    image_map,
    map_words,
)
from labsupport.labs.lab04_representation.pictures import (
    PIXELS,
    Collection,
    codes_of,
    collection,
    map_layers,
)
from labsupport.labs.lab04_representation.toys import TOYS, toy, toy_maps, toy_picture, toys_panel
from labsupport.labs.lab04_representation.tsne import layers_panel, map_panel, procrustes
