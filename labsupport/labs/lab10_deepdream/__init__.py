"""Lab 10: dreams that are watched while they form, guided ones, and contact sheets."""

from labsupport.labs.lab10_deepdream.dream import (
    DOGS,
    ContactSheet,
    DreamView,
    board,
    contact_panel,
    dream_panel,
    feedback_panel,
    feedback_picture,
    feedback_words,
    fitted,
    guided_panel,
    has_map,
    octaves_picture,
    pictures,
    recipe_of,
    sheet_layers,
)
from labsupport.labs.lab10_deepdream.films import (
    CLIPS,
    ClipMenu,
    FilmLive,
    film_panel,
    play,
    strip,
    zoom_panel,
)
