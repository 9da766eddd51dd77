"""Networks and images that several test files use, and the plain ways to compute what is tested."""

import functools
import re
from collections.abc import Callable, Iterable

import torch
import torchvision
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import LabError
from labsupport.core.network import Network, catalog

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # a normalization that changes nothing


def image(height: int = 32, width: int | None = None, *, count: int = 1, seed: int = 0):
    """Random pixels, (count, 3, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    settings = {"generator": generator, "dtype": torch.float32, "device": "cpu"}
    return torch.rand(count, 3, height, width or height, **settings)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module whose random weights are the same every time, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms whose statistics and weights lie away from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.3, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.6, 1.4, generator=generator)
                nn.init.normal_(norm.bias, 0, 0.3, generator=generator)
    return module


def narrowed(module: nn.Module, wide: int = 4096, narrow: int = 64) -> nn.Module:
    """The same with few of the units that AlexNet and VGG have between their linear layers: there
    are nine tenths of all their weights, half a gigabyte."""
    for part in module.modules():
        if isinstance(part, nn.Linear) and wide in (part.in_features, part.out_features):
            part.in_features = narrow if part.in_features == wide else part.in_features
            part.out_features = narrow if part.out_features == wide else part.out_features
            weight = part.weight[: part.out_features, : part.in_features]
            part.weight = nn.Parameter(weight.detach().clone())
            part.bias = nn.Parameter(part.bias[: part.out_features].detach().clone())
    return module


LARGE = ("alexnet", "vgg16", "vgg19")  # a quarter to half a gigabyte each


def random(name: str) -> Network:
    """One of the course's networks with random weights, its batch norms shaken; of the large ones
    the last is kept, of the others each."""
    return _last(name) if name in LARGE else _kept(name)


def _made(name: str) -> Network:
    recipe = catalog.recipe(name)
    module = shake(catalog.build(recipe, None, "random"))
    return catalog.network_of(recipe, module, "your own module")


_last, _kept = functools.lru_cache(maxsize=1)(_made), functools.cache(_made)


def bare(name: str, network: Network, **settings: object) -> nn.Module:
    """torchvision's own module with the weights of `network`, in eval mode."""
    with torch.device("meta"):
        module = torchvision.models.get_model(name, weights=None, **settings)
    missing, _ = module.load_state_dict(network.graph.state_dict(), strict=False, assign=True)
    assert all(key.startswith(("aux", "AuxLogits")) for key in missing)
    # Only weights were assigned; the auxiliary classifiers do not run in eval mode.
    return module.eval()


def hidden(image_: torch.Tensor, boxes: Iterable[tuple[int, int, int, int]], fill: torch.Tensor):
    """Copies of an image, each with one box (left, top, right, bottom) of the fill."""
    copies = []
    for left, top, right, bottom in boxes:
        copy = image_.clone()
        for y in range(top, bottom):
            for x in range(left, right):
                copy[0, :, y, x] = fill[0, :, y, x]
        copies.append(copy)
    return torch.cat(copies)


def linear(weights: torch.Tensor, bias: torch.Tensor | None = None, **settings: object) -> Network:
    """A network whose scores are sums of weight (classes, 3, H, W) times pixel, and a bias."""
    layer = nn.Linear(weights[0].numel(), len(weights), bias=bias is not None)
    layer.weight.data = weights.flatten(1).clone()
    if bias is not None:
        layer.bias.data = bias.clone()
    settings = {"input_size": tuple(weights.shape[2:]), **PLAIN, **settings}
    return networks.wrap(nn.Sequential(nn.Flatten(), layer), **settings)


def chain(
    build: Callable[[], list[nn.Module]], classes: int = 0, seed: int = 0, **settings: object
) -> Network:
    """Layers with seeded weights, the mean of each map, and scores that weigh these means; with no
    classes the means are the scores."""

    def whole() -> nn.Module:
        layers = build()
        width = [one.out_channels for one in layers if isinstance(one, nn.Conv2d)][-1]
        head = [nn.Linear(width, classes)] if classes else []
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)

    return networks.wrap(seeded(whole, seed), **settings)


class Applied(nn.Module):
    """A function as a layer, which tracing looks into."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Squeezed(nn.Module):
    """A network with a squeeze-and-excitation block: each position sees the whole map early on."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 1), nn.Sigmoid())
        self.second = nn.Conv2d(6, 5, 3)
        self.head = nn.Linear(5, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        x = self.second(x * self.gate(x)).relu()
        return self.head(x.mean((2, 3)))


def assert_close_but_for_kinks(result: torch.Tensor, expected: torch.Tensor) -> None:
    """Gradients of one network that came about in two ways, by kernels of their own.

    A hundred layers that add thousands of products, each rounded to 6e-8, stay within 1e-5 of the
    largest number. But where rounding decides whether a ReLU is open, or which number a max-pool
    takes, the gradient jumps by the share of that one unit: in the few pixels that it sees, or in
    all of them by next to nothing. So a tenth of the numbers may differ, and all by 5 % in norm.
    """
    near = (result - expected).abs() <= 1e-5 * expected.abs().max()
    assert float(near.float().mean()) >= 0.9
    assert float((result - expected).norm()) <= 0.05 * float(expected.norm())


def assert_same_patches(patches, expected) -> None:
    """Two `TopPatches`, bit for bit: NaN is NaN."""
    for name, value in vars(expected).items():
        own = getattr(patches, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(own.nan_to_num(-99), value.nan_to_num(-99)), name
        else:
            assert own == value, name


def refusal(method: Callable[..., object], /, *given: object, **settings: object) -> str:
    """The kind and the words of the error with which a call is refused; "" where it is not."""
    try:
        method(*given, **settings)
    except LabError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def assert_refused(*rows: tuple) -> None:
    """Each row is (words, method, *given): the call is refused, and its error's kind and words
    match. A dictionary at the end of a row has the arguments that are named."""
    for words, method, *given in rows:
        settings = given.pop() if given and isinstance(given[-1], dict) else {}
        found = refusal(method, *given, **settings)
        assert re.search(words, found, re.DOTALL), f"{words!r}, {settings or given}: {found!r}"
