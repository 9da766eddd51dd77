"""Lab 00: a first picture and the network's answer to it."""

from __future__ import annotations

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.ui import controls, figures
from labsupport.ui.declare import photograph_networks
from labsupport.ui.panel import Panel


def answer_panel(image: str = "giant_panda") -> Panel:
    """Any picture, a student's own too, and the most probable classes."""
    return Panel(
        _answered,
        {
            "image": controls.image_menu(images.photos(), image),
            "network": controls.network_menu(names=photograph_networks()),
            "light": controls.real("brightness", 1.0, 0.1, 1.0),
            "count": controls.whole("answers", 5, 1, 10),
        },
        title="What is this?",
        cost="instant",
    )


def _answered(
    image: torch.Tensor, network: Network, light: float, count: int
) -> tuple[Image.Image, str]:
    size = network.input_size[0]
    [answers] = network.predict(images.standard(image, size) * light, k=count)
    shown = images.standard(image, 2 * size) * light
    first = answers[0]
    words = f"{first.name}, {figures.per_cent(first.probability)}, says {network.name}."
    return figures.side_by_side([figures.mosaic(shown, gap=0), figures.bars(answers)]), words


def wall(names: list[str], network: Network) -> Image.Image:
    """Small photos in rows, under each what the network takes it for."""
    pictures = [images.standard(images.sample(name)) for name in names]
    said = [network.predict(picture, k=1)[0][0] for picture in pictures]
    small = torch.cat([images.resize(picture, 112) for picture in pictures])
    return figures.mosaic(small, columns=6, gap=6, titles=[answer.name for answer in said])
