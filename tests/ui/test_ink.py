"""Colours stay apart, and scales stay in order, for every kind of colour vision."""

import itertools
import re

import numpy as np
import pytest
from PIL import ImageColor
from skimage.color import xyz2lab
from skimage.color.colorconv import xyz_from_rgb

from labsupport.labs import lab05_occlusion as occlusion
from labsupport.labs.lab01_case_studies import anatomy
from labsupport.ui import checking, figures, ink

# What somebody without one kind of cone sees, in linear RGB: Machado, Oliveira & Fernandes, "A
# physiologically-based model for simulation of color vision deficiency", IEEE TVCG 2009, at
# severity 1.0. Each has three rows of three numbers.
EYES = {
    name: np.array(numbers.split(), dtype=float).reshape(3, 3)
    for name, numbers in {
        "all three cones": "1 0 0  0 1 0  0 0 1",
        "protanopia": """0.152286 1.052583 -0.204868
            0.114503 0.786281 0.099216
            -0.003882 -0.048116 1.051998""",
        "deuteranopia": """0.367322 0.860646 -0.227968
            0.280085 0.672501 0.047413
            -0.011820 0.042940 0.968881""",
        "tritanopia": """1.255528 -0.076749 -0.178779
            -0.078411 0.930809 0.147602
            0.004733 0.691367 0.303900""",
    }.items()
}
APART = 14.0  # in CIELAB, where about 2 can just be seen side by side

PALETTES = {
    "series": ink.SERIES,
    "categories": ink.CATEGORIES,
    "the map of categories": tuple(map(figures.group_colour, range(10))),
    "the map of classes": (*occlusion._COLOURS, "#c8c8c8"),
    "kinds of layers": tuple(set(anatomy.KIND_COLOURS.values())),
}


def linear(colours: np.ndarray) -> np.ndarray:
    """sRGB (N, 3) of 0 to 255, as shares of each colour's light."""
    shares = np.asarray(colours) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(colours: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """sRGB (N, 3) of 0 to 255, as CIELAB (N, 3) of what that eye sees."""
    return xyz2lab(np.clip(linear(colours) @ eye.T, 0, 1) @ xyz_from_rgb.T)


def nearest(colours, eye: np.ndarray) -> float:
    """The smallest distance between two of the colours."""
    numbers = [ImageColor.getrgb(c) if isinstance(c, str) else c for c in colours]
    pairs = itertools.combinations(lab(np.array(numbers, dtype=float), eye), 2)
    return min(float(np.linalg.norm(one - other)) for one, other in pairs)


@pytest.mark.parametrize("eye", EYES)
def test_any_two_colours_of_a_palette_are_told_apart(eye: str):
    for name, palette in PALETTES.items():
        assert nearest(palette, EYES[eye]) > APART, name


def test_the_signs_of_cards_stand_out_from_their_discs():
    accents = re.findall(r"--a:(#\w{6})", checking.cards.STYLE)
    assert len(accents) == 4
    luminance = linear([ImageColor.getrgb(one) for one in accents]) @ [0.2126, 0.7152, 0.0722]
    contrast_with_white = 1.05 / (luminance + 0.05)
    assert contrast_with_white.min() >= 4.5


def test_red_and_green_of_one_lightness_would_be_refused():
    assert nearest(("#c04040", "#508030"), EYES["all three cones"]) > 3 * APART
    assert nearest(("#c04040", "#508030"), EYES["deuteranopia"]) < APART


@pytest.mark.parametrize("eye", EYES)
def test_more_is_always_lighter_and_signed_numbers_darken_in_two_colours(eye: str):
    for scale in ("viridis", "magma", "grey"):
        lightness = lab(figures.palette(scale).astype(float), EYES[eye])[:, 0]
        assert np.diff(lightness).min() > -0.6, scale  # a step of 8 bits
        assert lightness[-1] - lightness[0] > 70, scale
    steps = lab(figures.palette("signed").astype(float), EYES[eye])
    middle = len(steps) // 2
    assert np.diff(steps[: middle + 1, 0]).min() > -0.6
    assert np.diff(steps[middle:, 0]).max() < 0.6
    below, above = steps[:middle:-1], steps[:middle]
    hues_apart = np.linalg.norm(below[: -middle // 4] - above[: -middle // 4], axis=1)
    assert hues_apart.min() > APART
    assert steps[middle, 0] > 95
