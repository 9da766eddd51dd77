"""The feedback loop: what the network says while a layer sees ever more of what it saw."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labsupport.core.errors import BadImage
from labsupport.core.frames import framed
from labsupport.core.network import Network
from labsupport.methods.dream.deepdream import CLASSIC, DreamFrame, DreamRecipe, dream
from labsupport.methods.dream.objectives import DreamObjective


@dataclass(frozen=True)
class Feedback:
    """A dream in numbers, from the photograph (the first of T rows) on, of `steps` steps.

    `values` (T,) is what was raised, over its value on the photograph; `probabilities` (T, classes)
    is what the network says; `images` (T, 3, H, W) what it saw.
    """

    values: Tensor
    probabilities: Tensor
    images: Tensor
    steps: int

    @property
    def last_class(self) -> int:
        """The class that is most probable at the end."""
        return int(self.probabilities[-1].argmax())

    @property
    def progress(self) -> float:
        """The share of the steps that is done, 0 to 1."""
        return (len(self.values) - 1) / self.steps


@framed
def feedback(
    network: Network,
    image: Tensor,
    objective: DreamObjective,
    *,
    recipe: DreamRecipe = CLASSIC,
    steps: int = 30,
    seed: int = 0,
) -> Iterator[Feedback]:
    """Dream on one image (1, 3, H, W) in a single octave, and ask the network after each step.

    The more a layer sees of something, the more of it is drawn: "any slightly detected dog face
    becomes more dog-like". Each frame has what the one before had, and one row more.

    Errors: those of `dream`.
    """
    single = replace(recipe, octaves=1, iterations=steps)
    frames = dream.frames(network, image, objective, recipe=single, seed=seed)
    if len(image) != 1:
        raise BadImage(f"a feedback loop has one image, (1, 3, H, W), not {len(image)}")
    return _rows(network, frames, steps)


def _rows(network: Network, frames: Iterator[DreamFrame], steps: int) -> Iterator[Feedback]:
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for frame in frames:
        with torch.no_grad():
            probabilities = network.scores(frame.image).softmax(1).cpu()
        rows.append((frame.value, probabilities, frame.image))
        values, chances, images = (torch.cat(column) for column in zip(*rows, strict=True))
        yield Feedback(values / values[0].abs().clamp_min(1e-12), chances, images, steps)
