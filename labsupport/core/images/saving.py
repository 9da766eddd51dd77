"""Pictures kept as files, with the settings that made them."""

import io
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin
from torch import Tensor

from labsupport.core.errors import BadSetting
from labsupport.core.images.decoding import load
from labsupport.core.images.preparation import to_pil

_SETTINGS = "settings"  # the PNG text chunk that holds them
_DESCRIPTION = 0x010E  # EXIF's ImageDescription, where a JPEG holds them


def save(
    image: Tensor | Image.Image, path: str | Path, settings: Mapping[str, Any] | None = None
) -> Path:
    """Write a picture to a PNG (exact to 8 bits) or JPEG file, with the settings that made it.

    `settings` goes into the file as JSON; `saved_settings` reads it back. The file appears whole
    or not at all.
    """
    file = Path(path).expanduser()
    kind = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(file.suffix.lower())
    if kind is None:
        raise BadSetting(f"{file.name!r} must end in .png (exact) or .jpg (small).")
    picture = to_pil(load(image) if isinstance(image, Image.Image) else image)
    notes = _as_json(settings)
    content = io.BytesIO()  # Pillow writes a JPEG without asking whether all of it was taken
    with whole_file(file) as part:
        try:
            picture.save(content, kind, **_with_notes(kind, notes))
        except ValueError as error:  # EXIF ends at 64 kB
            raise BadSetting("So many settings do not fit into a JPEG: save as .png.") from error
        part.write_bytes(content.getbuffer())
    return file


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """A name to write to; at the end of the block what is written there becomes `file`.

    Errors: `BadSetting` where there is no such folder, or no room in it.
    """
    if not file.parent.is_dir():
        raise BadSetting(f"There is no folder {file.parent}. Make it first, or choose another.")
    part = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield part
        part.replace(file)
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def saved_settings(path: str | Path) -> dict[str, Any]:
    """The settings that `save` has put into a picture file; empty if there are none."""
    load(path)  # refuses, in words, what is no picture
    with Image.open(Path(path).expanduser()) as picture:
        text = getattr(picture, "text", {}).get(_SETTINGS)
        notes = text or picture.getexif().get(_DESCRIPTION) or "{}"
    try:
        settings = json.loads(notes)
    except ValueError:  # a description that somebody else wrote
        return {}
    return settings if isinstance(settings, dict) else {}


def _as_json(settings: Mapping[str, Any] | None) -> str | None:
    if settings is None:
        return None
    try:
        return json.dumps(dict(settings))
    except (TypeError, ValueError) as error:
        raise BadSetting(
            f"Settings are numbers, words, and lists or dicts of these ({error})."
        ) from error


def _with_notes(kind: str, notes: str | None) -> dict[str, Any]:
    if kind == "PNG":
        information = PngImagePlugin.PngInfo()
        if notes is not None:
            information.add_itxt(_SETTINGS, notes)
        return {"pnginfo": information}
    exif = Image.Exif()
    if notes is not None:
        exif[_DESCRIPTION] = notes
    return {"quality": 95, "subsampling": 0, "exif": exif}
