"""The ink of every picture: its colours, its type face, and text that fits where it stands."""

import math
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

GROUND: Colour = (255, 255, 255)
PAPER: Colour = (242, 244, 246)
INK: Colour = (51, 51, 51)
QUIET: Colour = (107, 107, 107)
RULE: Colour = (221, 221, 221)
MISSING: Colour = (200, 200, 200)
ACCENT: Colour = (0, 114, 178)
# Okabe and Ito's colours, told apart by every kind of colour vision
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
# ten groups at once: these, and three that stay apart from them for every kind of colour vision
CATEGORIES = (*SERIES, "#692D0F", "#965AFF", "#0000B4")
DASHES = ("-", "--", "-.", ":")

TEXT = 12
TITLE = 13
LINE = 16


@cache
def face(size: int = TEXT, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along, at `size` pixels."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size)


def measure(text: str, size: int = TEXT, *, bold: bool = False) -> int:
    """Width of `text` in pixels."""
    return math.ceil(face(size, bold=bold).getlength(text))


def fit(text: str, limit: int, size: int = TEXT, *, bold: bool = False) -> str:
    """`text`, or as much of it as `limit` pixels hold, with an ellipsis.

    >>> fit("Madagascar cat, ring-tailed lemur", 120)
    'Madagascar cat, r…'
    >>> fit("goldfish", 120)
    'goldfish'
    """
    if measure(text, size, bold=bold) <= limit:
        return text
    kept = text
    while kept and measure(kept.rstrip() + "…", size, bold=bold) > limit:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def wrap(
    text: str, limit: int, size: int = TEXT, *, lines: int = 2, bold: bool = False
) -> list[str]:
    """`text` broken at spaces into at most `lines` lines of `limit` pixels, the last one fitted.

    >>> wrap("Madagascar cat, ring-tailed lemur", 120)
    ['Madagascar cat,', 'ring-tailed lemur']
    """
    rows: list[str] = []
    words = text.split()
    while words and len(rows) < lines - 1:
        row = words.pop(0)
        while words and measure(f"{row} {words[0]}", size, bold=bold) <= limit:
            row = f"{row} {words.pop(0)}"
        rows.append(fit(row, limit, size, bold=bold))
    return rows + ([fit(" ".join(words), limit, size, bold=bold)] if words else [])


def number(value: float) -> str:
    """A value in at most three significant digits, with a real minus sign.

    >>> number(0.00001234), number(-12.345), number(0.5), number(1234.5)
    ('1.23e−05', '−12.3', '0.5', '1234')
    """
    if math.isfinite(value) and abs(value) >= 1000:
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def counted(count: int, thing: str) -> str:
    """A number and what it counts.

    >>> counted(1, "step"), counted(0, "step"), counted(2, "class"), counted(9, "patch")
    ('1 step', '0 steps', '2 classes', '9 patches')
    """
    several = thing + ("es" if thing.endswith(("s", "ch")) else "s")
    return f"{count} {thing if count == 1 else several}"


def ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """About `count` round values from `low` to `high`, each with its words.

    >>> ticks(0.0, 1.0, count=3)
    [(0.0, '0'), (0.5, '0.5'), (1.0, '1')]
    """
    from matplotlib.ticker import MaxNLocator

    if not high > low:
        return [(low, number(low))]
    places = MaxNLocator(nbins=max(count - 1, 1), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    slack = (high - low) * 1e-6
    inside = [float(v) for v in places if low - slack <= v <= high + slack]
    return [(v, number(round(v, 12))) for v in inside] or [(low, number(low)), (high, number(high))]


def write(
    picture: Image.Image,
    place: tuple[float, float],
    text: str,
    *,
    size: int = TEXT,
    bold: bool = False,
    colour: Colour = INK,
    anchor: str = "la",
) -> None:
    """Write one line on the picture; `anchor` is Pillow's, from which corner `place` counts."""
    font = face(size, bold=bold)
    ImageDraw.Draw(picture).text(place, text, fill=colour, font=font, anchor=anchor)


def write_over(
    picture: Image.Image,
    place: tuple[float, float],
    text: str,
    *,
    size: int = TEXT,
    colour: Colour = GROUND,
    anchor: str = "la",
) -> None:
    """Write on a photograph: white, with a dark outline that keeps it readable on any ground."""
    ImageDraw.Draw(picture).text(
        place, text, fill=colour, font=face(size), anchor=anchor, stroke_width=2, stroke_fill=INK
    )


def upright(text: str, limit: int, *, size: int = TEXT, colour: Colour = INK) -> Image.Image:
    """One line of text that runs from bottom to top, at most `limit` pixels long."""
    shown = fit(text, limit, size)
    line = Image.new("RGB", (max(measure(shown, size), 1), LINE), GROUND)
    write(line, (0, LINE / 2), shown, size=size, colour=colour, anchor="lm")
    return line.transpose(Image.Transpose.ROTATE_90)
