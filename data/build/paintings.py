"""The paintings, as paintings.csv lists them: `python paintings.py SCRATCH`.

Some are whole in gcompris-qt-data, others are cut into jigsaw pieces with soft edges. The
package says where a piece's middle lies, to a thousandth of the board, which is up to a pixel
off; so each piece is moved by a pixel or two until the opacities add up to one along the seams.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from credits import find, table
from numpy.typing import NDArray
from photos import LONGEST, write_index
from PIL import Image
from sources import DATA, scratch

BOARD = (702, 515)  # pixels of the board that the pieces' places refer to
UNSIZED_BOARD = (800, 520)
MARGIN = 20  # some pieces hang over the board's edge
QUALITY = 85
PIECE = re.compile(r'"(image/[^"]+webp)",\s*"x" : "([\d.]+)",\s*"y" : "([\d.]+)"')
GPL = ("Nicolas Pioch (WebMuseum), Bruno Coudoin", "Public domain; scans GPL-3.0-or-later")


@dataclass
class Piece:
    pixels: NDArray[np.float32]  # (h, w, 4), 0 ... 1
    left: int
    top: int

    def area(self, left: int = 0, top: int = 0) -> tuple[slice, slice]:
        """Its place on the canvas, moved by so many pixels."""
        height, width = self.pixels.shape[:2]
        return (
            slice(self.top + top, self.top + top + height),
            slice(self.left + left, self.left + left + width),
        )


def read_pieces(board: Path) -> list[Piece]:
    text = board.read_text("utf-8")
    width, height = BOARD if '"width"' in text else UNSIZED_BOARD
    pieces = []
    for name, x, y in PIECE.findall(text):
        picture = Image.open(board.parent.parent / name).convert("RGBA")
        pixels = np.asarray(picture, dtype=np.float32) / 255
        left = round(float(x) * width - picture.width / 2) + MARGIN
        top = round(float(y) * height - picture.height / 2) + MARGIN
        pieces.append(Piece(pixels, left, top))
    return pieces


def _opacity(pieces: list[Piece]) -> NDArray[np.float32]:
    total = np.zeros((BOARD[1] + 4 * MARGIN, UNSIZED_BOARD[0] + 2 * MARGIN), dtype=np.float32)
    for piece in pieces:
        total[piece.area()] += piece.pixels[..., 3]
    return total


def settle(pieces: list[Piece], sweeps: int = 4, reach: int = 2) -> float:
    """Move the pieces until the opacities add up to one; returns what is left, per pixel."""
    total = _opacity(pieces)
    rows, columns = np.nonzero(total)
    inside = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    wanted = np.zeros_like(total)
    wanted[inside] = 1
    moves = [(x, y) for x in range(-reach, reach + 1) for y in range(-reach, reach + 1)]
    for _ in range(sweeps):
        for piece in pieces:
            alpha = piece.pixels[..., 3]
            total[piece.area()] -= alpha

            def misfit(
                move: tuple[int, int], piece: Piece = piece, alpha: NDArray[np.float32] = alpha
            ) -> float:
                area = piece.area(*move)
                before = (total[area] - wanted[area]) ** 2
                after = (total[area] + alpha - wanted[area]) ** 2
                return float((after - before).sum()) + 0.01 * (abs(move[0]) + abs(move[1]))

            left, top = min(moves, key=misfit)
            piece.left, piece.top = piece.left + left, piece.top + top
            total[piece.area()] += alpha
    return float(np.abs(total - wanted)[inside].mean())


def joined(pieces: list[Piece]) -> Image.Image:
    """The whole picture: where pieces overlap their mean, in pinholes the mean of what is near."""
    opacity = _opacity(pieces)
    colour = np.zeros((*opacity.shape, 3), dtype=np.float32)
    for piece in pieces:
        colour[piece.area()] += piece.pixels[..., :3] * piece.pixels[..., 3:]
    solid = opacity > 0.02
    colour[solid] /= opacity[solid][:, None]
    colour[~solid] = 0
    for _ in range(3):
        _fill_rim(colour, solid)
    cropped = colour[_span(solid.mean(1) > 0.35), _span(solid.mean(0) > 0.35)]
    return Image.fromarray((cropped * 255).round().clip(0, 255).astype(np.uint8))


def _span(full: NDArray[np.bool_], trim: int = 6) -> slice:
    """Without the outermost pixels: the ones just filled, and the scan's ragged edge."""
    places = np.nonzero(full)[0]
    return slice(int(places.min()) + trim, int(places.max()) + 1 - trim)


def _trimmed(picture: Image.Image, pixels: int) -> Image.Image:
    """Without the scan's frame."""
    return picture.crop((pixels, pixels, picture.width - pixels, picture.height - pixels))


def _fill_rim(colour: NDArray[np.float32], solid: NDArray[np.bool_]) -> None:
    """One pixel inwards: empty pixels beside solid ones take their neighbours' mean."""
    sums, counts = np.zeros_like(colour), np.zeros(solid.shape, dtype=np.float32)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            sums += np.roll(colour * solid[..., None], (row, column), (0, 1))
            counts += np.roll(solid, (row, column), (0, 1))
    rim = ~solid & (counts > 2)
    colour[rim] = sums[rim] / counts[rim][:, None]
    solid |= rim


def main() -> None:
    sources = scratch("Make the bundled paintings.")
    boards = sources / "rcc/paintings/gcompris/src/activities/paintings/resource/board"
    folder = DATA / "paintings"
    folder.mkdir(exist_ok=True)
    entries = table("paintings.csv")
    for entry in entries:
        entry.update(file=f"{entry['name']}.webp", imagenet="")
        if entry["source"].startswith("board"):
            pieces = read_pieces(boards / f"{entry['source']}.qml")
            print(f"{entry['name']}: {settle(pieces):.4f} off along the seams")
            picture = joined(pieces)
            entry.update(author=GPL[0], licence=GPL[1], origin="gcompris-qt-data; WebMuseum")
        else:
            path, credit = find(sources, entry["source"])
            picture = Image.open(path).convert("RGB")
            entry.update(author=credit.author, licence=credit.licence, origin=credit.origin)
        picture = _trimmed(picture, int(entry["trim"]))
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        picture.save(folder / entry["file"], quality=QUALITY, method=6)
    write_index(folder, entries)


if __name__ == "__main__":
    main()
