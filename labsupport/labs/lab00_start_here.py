"""Lab 00: a first picture and the network's answer to it."""

import torch
from PIL import Image

from labsupport.core import images
from labsupport.core.network import Network
from labsupport.ui import declare, figures


@declare.panel("What is this?", cost="instant")
def answer_panel(
    image: torch.Tensor = declare.photo("giant_panda"),
    network: Network = declare.network_of(),
    light: float = declare.real(1.0, 0.1, 1.0, label="brightness"),
    count: int = declare.whole(5, 1, 10, label="answers"),
) -> tuple[Image.Image, str]:
    """Any picture, a student's own too, and the most probable classes."""
    size = network.input_size[0]
    [answers] = network.predict(images.standard(image, size) * light, k=count)
    shown = images.standard(image, figures.sharp_side(size)) * light
    first = answers[0]
    words = f"{first.name}, {figures.per_cent(first.probability)}, says {network.name}."
    return figures.side_by_side([shown, figures.bars(answers)]), words


def wall(names: list[str], network: Network) -> Image.Image:
    """Small photos in rows, under each what the network takes it for."""
    pictures = [images.standard(images.sample(name)) for name in names]
    answers = [network.predict(picture, k=1)[0][0] for picture in pictures]
    small = torch.cat([images.resize(picture, 112) for picture in pictures])
    return figures.mosaic(small, columns=6, gap=6, titles=[answer.name for answer in answers])
