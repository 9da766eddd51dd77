"""From whatever a student has - a file, bytes, a PIL picture, an array - to an image in [0, 1].

An image is a float32 tensor (1, 3, H, W), RGB, in [0, 1]. What cannot become the right picture
raises `BadImage`, with the reason in words and the way out.
"""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, features
from torch import Tensor

from labsupport.core.errors import BadImage, nearest

PIXEL_LIMIT = 50_000_000
"""Pictures with more pixels are refused before they are decoded."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

_CHANNELS = (1, 3, 4)
_pil_lock = threading.Lock()

Source = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any] | Tensor
)


def load(source: Source) -> Tensor:
    """One picture as an image: float32 (1, 3, H, W), RGB, in [0, 1].

    `source` is a path, the bytes of a picture file, a PIL picture, or an array. A camera's
    rotation is applied, transparency is put on white, grey becomes three equal channels, and of
    an animation the first frame is taken. Arrays are (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4
    channels: uint8 is divided by 255, uint16 by 65535, floats must lie in [0, 1]. A tensor is
    always (C, H, W) or (1, C, H, W). A PIL picture of 32-bit integers is read as one of 8 bits if
    none is above 255, else as one of 16.

    Raises `BadImage` when the file is missing, empty, damaged, no picture, or has more than
    `PIXEL_LIMIT` pixels, or when the array's shape or values leave more than one reading.

    >>> load(np.zeros((2, 5), dtype=np.uint8)).shape
    torch.Size([1, 3, 2, 5])
    """
    if isinstance(source, Tensor):
        return _from_tensor(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        _check_size(*source.size, "The PIL picture")
        with _quiet_pil():
            return _on_white(_pixels(source, "The PIL picture"))
    if isinstance(source, bytes | bytearray | memoryview):
        return _on_white(decode(bytes(source), "The upload"))
    if isinstance(source, str | os.PathLike):
        return _on_white(decode(read_file(source), str(source)))
    raise BadImage(
        f"A {type(source).__name__} is no picture. Give a file's path, the bytes of a picture "
        "file, a PIL picture or a numpy array."
    )


def decode(data: bytes, title: str) -> Tensor:
    """A picture file with its opacity, if it has one: (1, 3, H, W) or (1, 4, H, W) in [0, 1]."""
    with _quiet_pil():
        return _pixels(_open(data, title), title)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file; `BadImage` says why it cannot be read."""
    file = Path(path).expanduser()
    if str(path).startswith(("http:", "https:")):
        raise BadImage(f"{path} is a web address. Save it to a file, then load the file.")
    if file.is_dir():
        raise BadImage(f"{file} is a folder. For all its pictures: images.folder({str(path)!r}).")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise BadImage(f"There is no file {file}. {_neighbours(file)}") from None
    except (OSError, ValueError) as error:
        raise BadImage(f"{file} cannot be read: {error}.") from error


def _neighbours(file: Path) -> str:
    if not file.parent.is_dir():
        return f"Its folder does not exist either; this is {Path.cwd()}."
    near = nearest(file.name, (other.name for other in file.parent.iterdir()))
    if not near:
        return f"The folder {file.parent} is empty."
    return f"In that folder, the nearest names are: {', '.join(near)}."


@contextmanager
def _quiet_pil() -> Iterator[None]:
    """PIL without warnings, and strict about files that were cut off, for this block alone."""
    with _pil_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lenient = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _open(data: bytes, title: str) -> Image.Image:
    if not data:
        raise BadImage(f"{title} is empty: it has 0 bytes. Save or download it again.")
    formats = (*FORMATS, "AVIF") if features.check("avif") else FORMATS
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise BadImage(_too_large(title, str(error))) from None
    except UnidentifiedImageError:
        raise BadImage(f"{title} is not a picture that can be read: {_looks_like(data)}.") from None
    except Exception as error:  # a hostile header can make PIL's readers raise anything
        raise BadImage(f"{title} has a damaged header ({error}). Save it again.") from error
    _check_size(*picture.size, title)
    return picture


def _looks_like(data: bytes) -> str:
    start = data[:400]
    if start[4:8] == b"ftyp":
        return "it looks like a HEIC picture or a film; save it as JPEG or PNG"
    if start.startswith(b"%PDF"):
        return "it is a PDF; save the page as PNG"
    if b"<svg" in start:
        return "it is an SVG drawing; save it as PNG"
    if start.startswith((b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF")):
        return "it begins like one, and then is damaged; save or download it again"
    try:
        text = start.decode("utf-8", "strict" if len(data) <= 400 else "ignore")
    except UnicodeDecodeError:
        text = "\0"
    if text.isprintable() or all(mark.isprintable() or mark.isspace() for mark in text):
        return f"it is text and begins with {text[:30]!r}"
    return f"known are {', '.join(FORMATS)}; save it as one of these"


def _check_size(width: int, height: int, title: str) -> None:
    if width * height > PIXEL_LIMIT:
        raise BadImage(_too_large(title, f"{width} x {height} pixels"))
    if width * height < 1:
        raise BadImage(f"{title} has no pixels: it is {width} x {height}.")


def _too_large(title: str, size: str) -> str:
    limit = PIXEL_LIMIT // 1_000_000
    return f"{title} is too large ({size}); at most {limit} million pixels. Make it smaller first."


def _pixels(picture: Image.Image, title: str) -> Tensor:
    """Upright, (1, 3, H, W), or (1, 4, H, W) where something is transparent."""
    try:
        transparent = _transparent_colour(picture)
        picture.load()
        upright = _upright(picture)
        if upright.mode.startswith(("I", "F")):
            return _deep_grey(upright, picture.format, title)
        if upright.mode == "LAB":
            raise BadImage(f"{title} holds Lab colours. Save it as RGB.")
        if upright.mode == "La":  # grey, multiplied by its opacity
            upright = upright.convert("LA")
        if transparent is not None:
            upright.info["transparency"] = transparent
        kind = "RGBA" if upright.has_transparency_data else "RGB"
        return _channels_first(np.array(upright.convert(kind))).div_(255)
    except BadImage:
        raise
    except Exception as error:  # a damaged body can make PIL's decoders raise anything
        raise BadImage(
            f"{title} is damaged or cut off: {error}. Save or download it again."
        ) from error


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # unreadable notes of the camera do not spoil the picture
        return picture.copy()


def _transparent_colour(picture: Image.Image) -> int | tuple[int, ...] | None:
    """The colour of a PNG file that is transparent, in the 8 bits that PIL makes of its 2, 4 or 16.

    PIL leaves that colour as it stands in the file. None where there is nothing to convert, as in
    a picture whose pixels are there already: PIL has forgotten then how many bits they had.
    """
    colour, parts = picture.info.get("transparency"), getattr(picture, "tile", None)
    if picture.format != "PNG" or colour is None or not parts:
        return None
    match parts[0].args:
        case "L;2" | "L;4" as kind:
            return int(colour) * 255 // ((1 << int(kind[2:])) - 1)
        case "RGB;16B":
            return tuple(value >> 8 for value in colour)
    return None


def _channels_first(pixels: NDArray[Any]) -> Tensor:
    """(H, W, C) -> float32 (1, C, H, W) with memory of its own."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().float()


def _deep_grey(picture: Image.Image, kind: str | None, title: str) -> Tensor:
    """One channel of 16- or 32-bit integers or of floats in [0, 1]; `kind` is the file's format."""
    values = np.asarray(picture)
    alpha = values != picture.info.get("transparency", values.max() + 1.0)
    if values.dtype.kind != "f":
        if values.min() < 0 or values.max() > 65535:
            raise BadImage(f"{title} has 32-bit values beyond 16 bits. Save it with 8 or 16 bits.")
        # PIL brings the numbers of a PGM file to 16 bits, however many there were.
        few = picture.mode == "I" and kind != "PPM" and values.max() <= 255
        values = values.astype(np.float32) / np.float32(255 if few else 65535)
    _check_values(values, title)
    channels = [values] * 3 if alpha.all() else [*[values] * 3, alpha]
    return _channels_first(np.stack(channels, 2).astype(np.float32))


def _check_values(values: NDArray[Any], title: str) -> None:
    if not np.isfinite(values).all():
        raise BadImage(f"{title} contains NaN or infinity.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise BadImage(
            f"{title} holds floats from {low:g} to {high:g}; they must lie in [0, 1]. "
            "Divide by 255, or convert with .astype(np.uint8) if these are 0 ... 255."
        )


def _on_white(pixels: Tensor) -> Tensor:
    """(1, 3 or 4, H, W) -> (1, 3, H, W)."""
    if pixels.shape[1] == 3:
        return pixels
    colour, alpha = pixels[:, :3], pixels[:, 3:]
    return (colour * alpha + (1 - alpha)).clamp_(0, 1)


def _from_tensor(tensor: Tensor) -> Tensor:
    values = tensor.detach().cpu()
    if values.is_floating_point():
        values = values.float()  # numpy knows no bfloat16
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3 or values.shape[0] not in _CHANNELS:
        raise BadImage(
            f"A tensor must be (1, C, H, W) or (C, H, W) with 1, 3 or 4 channels, "
            f"this one is {tuple(tensor.shape)}. Of a batch, take one: images[:1]."
        )
    return _from_channels_last(values.permute(1, 2, 0).numpy(), "The tensor")


def _from_array(array: NDArray[Any]) -> Tensor:
    if array.ndim == 2:
        return _from_channels_last(array[:, :, None], "The array")
    if array.ndim != 3:
        raise BadImage(
            f"An array must be (H, W), (H, W, C) or (C, H, W), this one is {array.shape}."
        )
    first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
    if first and last:
        raise BadImage(
            f"An array {array.shape} can be read as (H, W, C) and as (C, H, W). Say which: "
            "torch.from_numpy(array) is read as (C, H, W), PIL's Image.fromarray as (H, W, C)."
        )
    if not (first or last):
        raise BadImage(f"An array {array.shape} has no axis of 1, 3 or 4 channels.")
    return _from_channels_last(array if last else array.transpose(1, 2, 0), "The array")


def _from_channels_last(values: NDArray[Any], title: str) -> Tensor:
    _check_size(values.shape[1], values.shape[0], title)
    pixels = _channels_first(np.array(_scaled(values, title), order="C"))
    return _on_white(pixels.repeat(1, 3, 1, 1) if pixels.shape[1] == 1 else pixels)


def _scaled(values: NDArray[Any], title: str) -> NDArray[np.float32]:
    kind = values.dtype
    if kind == np.bool_:
        return values.astype(np.float32)
    if kind in (np.uint8, np.uint16):
        return values.astype(np.float32) / np.float32(np.iinfo(kind).max)
    if kind.kind != "f":
        raise BadImage(
            f"{title} holds {kind}; known are uint8 (0 ... 255), uint16 (0 ... 65535) and "
            "floats in [0, 1]. For 0 ... 255: array.astype(np.uint8)."
        )
    _check_values(values, title)
    return values.astype(np.float32)
