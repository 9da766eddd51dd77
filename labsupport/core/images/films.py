"""Films: pictures (K, 3, H, W) in [0, 1] and how many of them a second.

`read` opens an MP4, MOV, WebM or an animated GIF, `write` makes an MP4 or a GIF, `pan` moves a
camera over a photograph. Films are coded by the ffmpeg that the package imageio-ffmpeg ships.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError
from torch import Tensor

from labsupport.core.errors import BadImage, BadSetting
from labsupport.core.images.decoding import load, read_file
from labsupport.core.images.preparation import check, resize, to_pil
from labsupport.core.images.saving import whole_file

KINDS = ("mp4", "gif")
_MOST_SIDE = 4096


@dataclass(frozen=True)
class Film:
    """Pictures (K, 3, H, W) in [0, 1], and how many of them a second."""

    images: Tensor
    fps: float

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return len(self.images) / self.fps


def write(film: Film, path: str | Path) -> Path:
    """Write a film to an .mp4 or a .gif file, which appears whole or not at all."""
    file = Path(path).expanduser()
    kind = file.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise BadSetting(f"{file.name!r} must end in .mp4 (small, exact colours) or .gif.")
    with whole_file(file) as part:
        part.write_bytes(encode(film, kind))
    return file


def encode(film: Film, kind: str = "mp4") -> bytes:
    """The bytes of an MP4 (H.264, which every browser plays) or of a GIF that repeats itself.

    An MP4's sides are even: where one is not, its last row or column is shown twice.

    Errors: `BadImage`, `BadSetting`, also where the disk has no room for ffmpeg to work in.
    """
    check(film.images)
    if not 0.1 <= film.fps <= 120:
        raise BadSetting(f"a film has 0.1 to 120 pictures a second, not {film.fps:g}")
    if kind not in KINDS:
        raise BadSetting(f"a film is written as {' or '.join(KINDS)}, not as {kind!r}")
    values = (film.images.detach().cpu().float().clamp(0, 1) * 255).round().byte()
    pictures = values.permute(0, 2, 3, 1).contiguous().numpy()  # (K, H, W, 3)
    return _as_mp4(pictures, film.fps) if kind == "mp4" else _as_gif(pictures, film.fps)


def read(source: str | Path | bytes, *, most: int = 48, side: int = 360) -> Film:
    """A film, thinned evenly to `most` pictures and made smaller where a side is above `side`.

    Errors: `BadImage` for what is no film.
    """
    content = source if isinstance(source, bytes) else read_file(source)
    try:
        pictures, fps = _animation(content, side)
    except UnidentifiedImageError:
        pictures, fps = _video(content, most, side)
    if len(pictures) > most:
        kept = np.linspace(0, len(pictures) - 1, most).round().astype(int)
        fps *= most / len(pictures)
        pictures = [pictures[place] for place in kept]
    return from_pictures([load(one) for one in pictures], fps=fps, side=side)


def pan(
    image: Tensor, size: tuple[int, int], frames: int = 12, *, closer: float = 0.8, fps: float = 12
) -> Film:
    """A camera that moves over a photograph (1, 3, H, W), from left to right, and comes closer.

    `size` is (height, width) of the film; at the end the camera sees the share `closer` of what it
    saw at first.
    """
    check(image)
    height, width = image.shape[2:]
    photograph, views = to_pil(image), []
    for place in range(frames):
        share = place / max(1, frames - 1)
        seen = (1 + share * (closer - 1)) * 0.8
        high = min(height * seen, width * seen * size[0] / size[1])
        wide = high * size[1] / size[0]
        left, top = (width - wide) * share, (height - high) * (0.5 - 0.2 * share)
        box = (left, top, left + wide, top + high)
        views.append(load(photograph.resize(size[::-1], Image.Resampling.BICUBIC, box=box)))
    return Film(torch.cat(views), fps)


def from_pictures(images: Sequence[Tensor], *, fps: float = 8, side: int = 360) -> Film:
    """A film of single pictures (1, 3, H, W), in the size of the first one, at most `side`."""
    if not images:
        raise BadImage("A film has one picture at least; there are none.")
    check(images[0])
    height, width = images[0].shape[2:]
    share = min(1.0, side / max(height, width))
    size = (max(1, round(height * share)), max(1, round(width * share)))
    return Film(torch.cat([resize(one, size) for one in images]), fps)


# Coding


def _as_mp4(pictures: NDArray[np.uint8], fps: float) -> bytes:
    import imageio_ffmpeg

    height, width = pictures.shape[1:3]
    even = np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with _folder() as folder:
        file = folder / "film.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(file),
            (even.shape[2], even.shape[1]),
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=["-crf", "21", "-preset", "medium", "-movflags", "+faststart"],
        )
        writer.send(None)
        for picture in even:
            writer.send(np.ascontiguousarray(picture))
        writer.close()
        content = file.read_bytes()
        if not _is_whole(content):  # the writer does not tell how ffmpeg has ended
            raise OSError
    return content


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for ffmpeg, for the time being; `BadSetting` where it has no room."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise BadSetting(
            f"The film cannot be written to the folder for temporary files ({tempfile.tempdir}): "
            f"{error.strerror or 'ffmpeg stopped in the middle of it'}. Make room there."
        ) from error


def _is_whole(content: bytes) -> bool:
    """Whether an MP4 has its index and its pictures, and its boxes end where the bytes do."""
    names, place = set(), 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4])
        names.add(content[place + 4 : place + 8])
        if size < 8:  # "to the end", or longer than 4 GB: neither comes from a short film
            return False
        place += size
    return place == len(content) and {b"moov", b"mdat"} <= names


def _as_gif(pictures: NDArray[np.uint8], fps: float) -> bytes:
    images = [Image.fromarray(one).quantize(256) for one in pictures]
    file = io.BytesIO()
    images[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=max(20, round(1000 / fps)),
        loop=0,
    )
    return file.getvalue()


def _animation(content: bytes, side: int) -> tuple[list[Image.Image], float]:
    """The pictures of a GIF, an animated WebP or PNG; of any other picture, that one."""
    with Image.open(io.BytesIO(content)) as picture:
        _check_side(picture.size)
        pictures = []
        try:
            for one in ImageSequence.Iterator(picture):
                pictures.append(_bare(one))
                pictures[-1].thumbnail((side, side), Image.Resampling.LANCZOS)
        except (OSError, SyntaxError, ValueError) as error:
            raise BadImage(f"This film is damaged: {error}.") from error
        pause = float(picture.info.get("duration") or 100)
    return pictures, 1000 / max(pause, 10)


def _bare(frame: Image.Image) -> Image.Image:
    """The colours alone: what else a frame says (transparency, rotation) is not for a film."""
    return Image.fromarray(np.asarray(frame.convert("RGB")))


def _video(content: bytes, most: int, side: int) -> tuple[list[Image.Image], float]:
    import imageio_ffmpeg

    with _folder() as folder:
        file = folder / "film"
        file.write_bytes(content)
        try:
            frames = imageio_ffmpeg.read_frames(str(file))
            about = next(frames)
            _check_side(about["size"])
            fps = float(about["fps"])
            every = max(1, int(fps * float(about["duration"]) / most))
            pictures = list(_thinned(frames, about["size"], every, side))
        except (OSError, RuntimeError, StopIteration) as error:
            raise BadImage("This file is no film: an MP4, MOV, WebM or GIF is one.") from error
    if not pictures:
        raise BadImage("This film has no pictures.")
    return pictures, fps / every


def _thinned(
    frames: Iterator[bytes], size: tuple[int, int], every: int, side: int
) -> Iterator[Image.Image]:
    """Each `every`-th picture, not larger than needed, so that a long film fits into memory."""
    for number, content in enumerate(frames):
        if number % every == 0:
            picture = Image.frombytes("RGB", size, content)
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            yield picture


def _check_side(size: tuple[int, int]) -> None:
    if max(size) > _MOST_SIDE:
        raise BadImage(
            f"This film is {size[0]} x {size[1]} pixels; a side has at most {_MOST_SIDE}. "
            "Make it smaller first."
        )
