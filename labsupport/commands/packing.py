"""Pictures for pages: as few bytes as they can have without looking different."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

QUALITY = {"WEBP": 88, "JPEG": 90}  # of a photograph, as the encoders count
NEAR = 3.0  # grey levels, of 255, by which it may differ on average ...
HIDDEN = 0.2  # ... or this share of how much its own neighbouring pixels differ, as in noise
SMALL = 40_000  # bytes, of which nothing is saved
SMALLER = 0.7  # of the bytes, at most, for which pixels are given up


def packed(png: bytes) -> bytes:
    """A picture for a page: without loss, unless it saves much and loses little, as photographs do.

    >>> from labsupport.ui import figures
    >>> flat = figures.to_png(Image.new("RGB", (90, 60), (200, 30, 30)))
    >>> Image.open(io.BytesIO(packed(flat))).getpixel((5, 5))
    (200, 30, 30)
    """
    image = Image.open(io.BytesIO(png)).convert("RGB")
    pixels = np.asarray(image, dtype=np.int16)
    near = max(NEAR, HIDDEN * float(np.abs(np.diff(pixels, axis=1)).mean()))
    plain = len(_encoded(image, "WEBP", lossless=True, method=0))
    # JPEG keeps the colours of single pixels, of which WebP has one for four
    ways: list[tuple[str, dict[str, Any]]] = [("WEBP", {}), ("JPEG", {"subsampling": 0})]
    for kind, how in ways if plain > SMALL else ():
        lossy = _encoded(image, kind, quality=QUALITY[kind], **how)
        back = np.asarray(Image.open(io.BytesIO(lossy)).convert("RGB"), dtype=np.int16)
        if len(lossy) < SMALLER * plain and np.abs(back - pixels).mean() <= near:
            return lossy
    return _encoded(image, "WEBP", lossless=True, quality=60, method=2)


def _encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def size_of(content: bytes) -> tuple[int, int]:
    """The width and height of an encoded picture."""
    with Image.open(io.BytesIO(content)) as image:
        return image.size


def as_data(content: bytes) -> str:
    """An encoded picture as an address that has it inside.

    >>> as_data(b"RIFF...")
    'data:image/webp;base64,UklGRi4uLg=='
    """
    kind = "webp" if content.startswith(b"RIFF") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
