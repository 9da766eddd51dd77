"""Pictures for a notebook. Every function returns a new RGB picture; none shows or saves it.

All of them take images in any of these forms: a tensor or array (3, H, W), (1, 3, H, W) or (H, W)
in [0, 1], an array (H, W, 3) of bytes, or a Pillow picture. Pixels are only ever enlarged by whole
numbers, so what is seen is what was computed.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from labsupport.core.errors import BadSetting
from labsupport.ui.curves import Axes, drawn
from labsupport.ui.figures.charts import Cell, bars, curve, legend, matrix, per_cent, slabs, table
from labsupport.ui.figures.colours import (
    COLOURS,
    Bytes,
    Limits,
    Picture,
    Pixels,
    as_array,
    blank,
    centred,
    enlarge,
    fitted,
    framed,
    inked,
    note,
    paint,
    palette,
    pixels,
    scale_of,
    sharp_side,
    spread,
)
from labsupport.ui.figures.maps import PLAIN_SIZE, boxes, heat_map, labelled, overlay, stretched
from labsupport.ui.figures.scatter import (
    WHOLE,
    Window,
    dots,
    group_colour,
    group_legend,
    on_sheet,
    pictures_at,
    trimmed,
)
from labsupport.ui.figures.tiles import mosaic, seams, side_by_side

if TYPE_CHECKING:
    from IPython.display import Image as ShownImage


def show(picture: Pixels, alt: str, scale: int = 1) -> ShownImage:
    """What a notebook cell ends with: the picture as PNG, with words for who cannot see it.

    `alt` says what there is to see; `scale` enlarges by a whole number.
    """
    from IPython.display import Image as Shown

    if not alt.strip():
        raise BadSetting("A picture needs alt: one sentence that says what there is to see.")
    shown = enlarge(picture, scale)
    return Shown(  # type: ignore[no-untyped-call]  # IPython's Image has no annotations
        data=to_png(shown), format="png", width=shown.width, alt=alt
    )


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file's bytes; `images.save` writes a file, with its settings."""
    file = io.BytesIO()
    # level 1: a third of the time for a fifth more bytes; a panel redraws while a slider moves
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
