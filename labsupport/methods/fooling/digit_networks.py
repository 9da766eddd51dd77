"""The small networks of Szegedy's Table 1, on handwritten digits, and how they learn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labsupport.core import training
from labsupport.core.errors import one_of
from labsupport.core.frames import Stepwise, framed, last_of
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network
from labsupport.core.network.architectures.lenet import LeNet5
from labsupport.core.network.catalog import PLAIN, Recipe, network_of

PIXELS = 28 * 28
_AE_BATCH = 64
_AE_EPOCHS = 0.5  # of a training's epochs, for the autoencoder
_AE_SHARE = 0.75  # of a training's frames, those in which the autoencoder learns
_DROPPED = 0.25  # of the pixels that the autoencoder has to fill in


@dataclass(frozen=True)
class DigitRecipe:
    """How one network is built and trained, and what the paper measured for it.

    `sizes` are its layers' units, `decay` its weight decay. `paper_error` and `paper_distortion`
    are Szegedy's Table 1 (60 000 digits to learn from), None for a network that is not in it.
    """

    sizes: tuple[int, ...]
    decay: float
    learning_rate: float
    words: str
    paper_error: float | None = None
    paper_distortion: float | None = None
    relu: bool = False


_LINEAR = "softmax on the pixels, weight decay {}"
_DEEP = "two hidden layers of {} sigmoid units"

DIGIT_NETWORKS: Mapping[str, DigitRecipe] = {
    "FC10(1e-4)": DigitRecipe((10,), 1e-4, 0.05, _LINEAR.format("0.0001"), 0.074, 0.062),
    "FC10(1e-2)": DigitRecipe((10,), 1e-2, 0.05, _LINEAR.format("0.01"), 0.094, 0.1),
    "FC10(1)": DigitRecipe((10,), 1.0, 0.05, _LINEAR.format("1"), 0.20, 0.14),
    "FC100-100-10": DigitRecipe((100, 100, 10), 1e-5, 0.3, _DEEP.format(100), 0.0164, 0.058),
    "FC200-200-10": DigitRecipe((200, 200, 10), 1e-5, 0.3, _DEEP.format(200), 0.0154, 0.065),
    "AE400-10": DigitRecipe(
        (400, 10), 1e-5, 0.3, "softmax on an autoencoder's 400 units", 0.019, 0.086
    ),
    "LeNet-5": DigitRecipe((10,), 1e-4, 0.05, "a small ConvNet", relu=True),
    "ReLU 200-200-10": DigitRecipe(
        (200, 200, 10), 1e-5, 0.05, "two hidden layers of 200 ReLUs", relu=True
    ),
}
TABLE_1 = tuple(name for name, one in DIGIT_NETWORKS.items() if one.paper_error is not None)


class Grey(nn.Module):
    """The colour channels averaged and laid in a row: (N, 3, 28, 28) to (N, 784)."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(1).flatten(1)


@dataclass(frozen=True)
class DigitFrame(Stepwise):
    """A digit network on its way, after `step` of `steps`.

    `module` goes on changing with the next frame; `network()` is a copy as it is now.
    """

    name: str
    step: int
    steps: int
    module: nn.Module
    categories: tuple[str, ...]

    def network(self) -> Network:
        """What has been learned so far, for all methods that take a network."""
        return as_network(self.name, self.module, self.categories)


def _network(frames: Iterator[DigitFrame]) -> Network:
    return last_of(frames).network()


@framed(result=_network)
def train_digits(
    name: str, examples: LabelledImages, *, epochs: float = 10, seed: int = 0
) -> Iterator[DigitFrame]:
    """One of `DIGIT_NETWORKS`, trained on images (N, 3, 28, 28).

    The call gives a `Network`; `.frames` give a `DigitFrame` each step. The same seed gives the
    same network.

    Errors: `BadSetting` with the nearest names.
    """
    chosen = recipe(name)
    if name.startswith("AE"):
        return _train_on_codes(name, examples, epochs, seed)
    frames = trained(fresh(name, seed), examples.images, examples.labels, chosen, epochs, seed)
    return (
        DigitFrame(name, one.step, one.steps, one.module, examples.categories) for one in frames
    )


def recipe(name: str) -> DigitRecipe:
    return DIGIT_NETWORKS[one_of(name, DIGIT_NETWORKS, "a digit network")]


def fresh(name: str, seed: int = 0) -> nn.Module:
    """The network before it has learned anything."""
    return training.seeded(lambda: _build(name), seed)


def _build(name: str) -> nn.Module:
    chosen = recipe(name)
    if name == "LeNet-5":
        return LeNet5()
    layers: list[nn.Module] = [Grey()]
    before = PIXELS
    for units in chosen.sizes:
        layers += [nn.Linear(before, units), nn.ReLU() if chosen.relu else nn.Sigmoid()]
        before = units
    return nn.Sequential(*layers[:-1])  # the scores have no sigmoid


def trained(
    module: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    chosen: DigitRecipe,
    epochs: float,
    seed: int,
    augment: training.Augmentation | None = None,
) -> Iterator[training.TrainingFrame]:
    """The module while it learns, with the recipe's learning rate and decay."""
    return training.train.frames(
        module, inputs, labels, epochs=epochs, learning_rate=chosen.learning_rate,
        weight_decay=chosen.decay, augment=augment, seed=seed,
    )  # fmt: skip


def _train_on_codes(
    name: str, examples: LabelledImages, epochs: float, seed: int
) -> Iterator[DigitFrame]:
    """First the autoencoder, without labels; then a softmax on its code, which stays as it is."""
    grey, encoder, squash, head = fresh(name, seed).children()
    pixels = grey(examples.images).detach()

    def frame(share: float, last: nn.Module) -> DigitFrame:
        whole = nn.Sequential(grey, encoder, squash, last)
        return DigitFrame(name, round(1000 * share), 1000, whole, examples.categories)

    for done, _ in _learn_to_fill_in(encoder, pixels, _AE_EPOCHS * epochs, seed):
        yield frame(_AE_SHARE * done, head)
    with torch.no_grad():
        codes = squash(encoder(pixels))
    for one in trained(head, codes, examples.labels, recipe(name), epochs, seed):
        yield frame(_AE_SHARE + (1 - _AE_SHARE) * one.progress, one.module)


def _learn_to_fill_in(
    encoder: nn.Module, pixels: Tensor, epochs: float, seed: int
) -> Iterator[tuple[float, float]]:
    """A denoising autoencoder with tied weights: fill in the pixels that were dropped.

    Each frame is the share that is done, and the loss.
    """
    random = torch.Generator().manual_seed(seed)
    weight, bias = encoder.parameters()
    decoder_bias = torch.zeros(PIXELS, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias, decoder_bias], lr=2e-3)
    steps = max(1, round(epochs * len(pixels) / _AE_BATCH))
    for step in range(steps):
        chosen = torch.randint(len(pixels), (_AE_BATCH,), generator=random)
        whole = pixels[chosen]
        kept = torch.rand(whole.shape, generator=random) >= _DROPPED
        with torch.enable_grad():
            code = torch.sigmoid(encoder(whole * kept))
            drawn = code @ weight + decoder_bias
            loss = nn.functional.binary_cross_entropy_with_logits(drawn, whole)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
        optimizer.step()
        yield (step + 1) / steps, float(loss.detach())


def as_network(name: str, module: nn.Module, categories: Sequence[str]) -> Network:
    """A trained module as a `Network` for images (N, 3, 28, 28) in [0, 1]."""
    recipe = Recipe(name, lambda: module, lambda: tuple(categories), (28, 28), *PLAIN)
    return network_of(recipe, module, "trained here, on the bundled digits")
