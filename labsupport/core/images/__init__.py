"""Images: float32 tensors (N, 3, H, W), RGB, in [0, 1]. Where they come from, and where they go.

`load` reads one picture, `sample`, `photos`, `cutouts`, `paintings`, `digits` and `fashion` bring
the bundled ones; `standard` and `resize` make them the size that a network expects, `check` says
whether a tensor is an image, and `save` keeps one, with the settings that made it.
"""

from labsupport.core import modes
from labsupport.core.images.decoding import PIXEL_LIMIT, load
from labsupport.core.images.preparation import (
    check,
    checked_map,
    checked_size,
    resize,
    squared,
    standard,
    to_pil,
)
from labsupport.core.images.saving import save, saved_settings
from labsupport.core.images.sets import (
    CutOut,
    Files,
    ImageSet,
    LabelledImages,
    Picture,
    cutouts,
    digits,
    fashion,
    files,
    folder,
    paintings,
    photos,
    sample,
    torchvision_set,
)

modes.keep(__name__)
