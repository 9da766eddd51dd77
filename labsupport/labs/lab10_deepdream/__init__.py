"""Lab 10: dreams that are watched while they form, contact sheets, and films."""

from labsupport.labs.lab10_deepdream.dream import (
    contact_panel,
    dream_panel,
    feedback_panel,
    fitted,
    kept,
    octaves_picture,
    pictures,
    recipe_of,
)
from labsupport.labs.lab10_deepdream.films import film_panel, kept_film, zoom_panel
