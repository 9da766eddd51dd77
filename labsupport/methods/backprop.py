"""Backprop to the image: how any number in a network changes with every pixel.

Feed the image in, set the gradient of a layer to zero but for a one at the neuron of interest, and
go back to the image. What becomes of the gradient at the ReLUs is a choice: plain backpropagation
(Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", 2013), the deconvnet (Zeiler
and Fergus, "Visualizing and understanding convolutional networks", 2013) or guided backpropagation
(Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for simplicity", 2014).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from labsupport.core import device as devices
from labsupport.core import modes, workers
from labsupport.core.errors import BadSetting
from labsupport.core.frames import framed, last_of
from labsupport.core.images.similarity import rank_correlation, structural_similarity
from labsupport.core.network import Network, Target, TargetLike
from labsupport.core.network.gradients import gradient_of
from labsupport.core.network.graphs import needed_for
from labsupport.core.network.layers import Layer
from labsupport.core.network.rules import RULES, GradientRule, PartWithRules, part_with_rules
from labsupport.core.network.transposes import project
from labsupport.methods.occlusion import Fill, fill_image

Progress = Callable[[float], object]
Targets = TargetLike | list[TargetLike]

_ROUNDING = 1e-6  # of the numbers in a sum: what single precision loses
_AT_ONCE = 2  # noisy or blended images: few, so that a frame is there soon


@dataclass(frozen=True)
class Gradient:
    """How a target changes with every pixel: `values` (N, 3, H, W), per unit of an image in [0, 1].

    `targets` has one target for each image, and `scores` (N,) their values. `rule` says how the
    gradient passed the ReLUs, `relus` how many of them lie on its way.
    """

    values: Tensor
    scores: Tensor
    targets: tuple[Target, ...]
    rule: str
    relus: int


def gradient(
    network: Network, images: Tensor, target: Targets, *, rule: str = "backprop"
) -> Gradient:
    """The gradient of a target with respect to every pixel of images (N, 3, H, W), on the CPU.

    `target` is a class, (layer, channel) or (layer, channel, position): one for all images, or a
    list with one for each, all of one layer. `rule` is "backprop", "deconvnet" or "guided".
    Nothing after the target's layer is computed, and no gradient of a weight.

    Errors: `BadSetting` for another rule, for a rule without a ReLU to act on, for a position
    outside the map; `BadImage`, `UnknownClass`, `UnknownLayer`.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> module = nn.Sequential(nn.Conv2d(3, 1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(9, 2))
    >>> network = networks.wrap(module, input_size=4)
    >>> guided = gradient(network, torch.rand(5, 3, 4, 4), ("1", 0, (1, 2)), rule="guided")
    >>> guided.values.shape, guided.relus
    (torch.Size([5, 3, 4, 4]), 1)
    """
    return gradients(network, images, target, rules=(rule,))[rule]


def gradients(
    network: Network, images: Tensor, target: Targets, *, rules: Sequence[str] = RULES
) -> dict[str, Gradient]:
    """`gradient` by several rules, from a single forward pass."""
    backward = _BackwardPass.prepare(network, images, target, rules)
    values, scores = backward.gradients(images.detach(), torch.arange(len(images)))
    return {
        rule: backward.result(values[:, place].contiguous(), scores, rule)
        for place, rule in enumerate(backward.rules)
    }


def deconvnet(network: Network, images: Tensor, target: Targets) -> Gradient:
    """The reconstruction of Zeiler and Fergus' deconvnet, built as they describe it.

    The way up records for each max-pool where its maxima were (the switches); the way down
    unpools with them, rectifies the signal at each ReLU, and convolves with the transposed
    filters. The result is that of `gradient(..., rule="deconvnet")`, without any gradient.

    Errors: as `gradient`; `BadSetting` for a layer that has no transpose.
    """
    backward = _BackwardPass.prepare(network, images, target, ("deconvnet",))
    scores: list[Tensor] = []

    def start(activations: Tensor) -> Tensor:
        scores.append(backward.read(activations, torch.arange(len(images))).cpu())
        return backward.one_hot(activations)

    with torch.no_grad():
        values = project(network, images.detach(), backward.node, start)
    return backward.result(values.cpu().contiguous(), scores[0], "deconvnet")


# Several gradients for one: what people use today


@dataclass(frozen=True)
class SmoothFrame:
    """The mean gradient over the noisy copies so far.

    `noisy` is the last copy of the first image, (1, 3, H, W), cut to [0, 1] to be looked at;
    `samples` says how many there were, `progress` (0 to 1) the share that is done.
    """

    gradient: Gradient
    noisy: Tensor
    samples: int
    progress: float


def _last_gradient(frames: Iterator[SmoothFrame]) -> Gradient:
    return last_of(frames).gradient


@framed(result=_last_gradient)
def smooth_gradient(
    network: Network,
    images: Tensor,
    target: Targets,
    *,
    rule: str = "backprop",
    noise: float = 0.15,
    samples: int = 16,
    seed: int = 0,
) -> Iterator[SmoothFrame]:
    """SmoothGrad: the mean gradient over noisy copies of each image (Smilkov et al. 2017).

    `noise` is its standard deviation as a share of each image's range of values; all images get
    the same noise. The frames have the mean over more and more copies.

    Errors: as `gradient`; `BadSetting` for noise below 0 or fewer than one sample.
    """
    if not 0 <= noise < float("inf") or samples < 1:
        raise BadSetting("noise is a share of the image's range, 0 or more; samples is 1 or more")
    backward = _BackwardPass.prepare(network, images, target, (rule,))
    return _smooth(backward, images.detach().cpu(), (noise, samples, seed))


def _smooth(
    backward: _BackwardPass, images: Tensor, settings: tuple[float, int, int]
) -> Iterator[SmoothFrame]:
    noise, samples, seed = settings
    generator = torch.Generator().manual_seed(seed)
    pixels = images.flatten(1)
    size = (noise * (pixels.amax(1) - pixels.amin(1)))[:, None, None, None]
    scores = backward.scores(images, torch.arange(len(images)))
    total = torch.zeros_like(images)
    together = max(1, _AT_ONCE // len(images))
    for first in range(0, samples, together):
        count = min(together, samples - first)
        shape = (count, 1, *images.shape[1:])
        noisy = (images + size * torch.randn(shape, generator=generator)).flatten(0, 1)
        values, _ = backward.gradients(noisy, torch.arange(len(images)).repeat(count))
        total += values.view(count, *images.shape).sum(0)
        mean = backward.result(total / (first + count), scores, backward.rules[0])
        last = noisy[-len(images)][None].clamp(0, 1)
        yield SmoothFrame(mean, last, first + count, (first + count) / samples)


@dataclass(frozen=True)
class Attribution:
    """What each pixel adds on the way from a baseline to the image: `values` (N, 3, H, W).

    `start` and `end` (N,) are the targets' values for baseline and image. The values add up to
    their difference, and `error` (N,) is by how much they miss it, as a share of it. `steps` (N,)
    says how many gradients each image took.
    """

    values: Tensor
    start: Tensor
    end: Tensor
    steps: Tensor
    targets: tuple[Target, ...]

    @property
    def error(self) -> Tensor:
        """How far completeness is missed, (N,): 0.01 is one per cent.

        What is missed by no more than single precision rounds is 0, also where the target's value
        does not change; where it does not change and more is missed, the error is infinite.
        """
        whole = (self.end - self.start).double()
        missed = (self.values.double().sum((1, 2, 3)) - whole).abs()
        sizes = self.values.double().abs().sum((1, 2, 3)) + self.start.abs() + self.end.abs()
        return torch.where(missed <= _ROUNDING * sizes, 0.0, missed / whole.abs()).float()


def integrated_gradients(
    network: Network,
    images: Tensor,
    target: Targets,
    *,
    baseline: Fill = "black",
    steps: int = 16,
    tolerance: float | None = 0.01,
    max_steps: int = 256,
    progress: Progress | None = None,
) -> Attribution:
    """Integrated gradients (Sundararajan, Taly and Yan 2017): the mean gradient on the straight
    way from a baseline to each image, times the way.

    `baseline` is a fill as in `occlusion_map`: "black", "mean", "white", "blur", a colour or an
    image. The integral is a sum over the middles of `steps` equal parts of the way. Where the
    target's value bends most, parts are halved until completeness holds within `tolerance` (a
    share; None leaves it at the equal parts) or `max_steps` gradients were taken. An image that is
    its baseline takes none: nothing was added. `progress` is called with the share of the images
    that is done.

    Errors: as `gradient`; `BadSetting` for another baseline, fewer than one step, or `max_steps`
    below `steps`.
    """
    if not 1 <= steps <= max_steps:
        raise BadSetting(
            f"steps is 1 or more and max_steps {steps} or more, not {steps} and {max_steps}"
        )
    backward = _BackwardPass.prepare(network, images, target, ("backprop",))
    images = images.detach().cpu()
    base = fill_image(network, images, baseline).cpu()
    paths = []
    for number in range(len(images)):
        path = _Path(backward, number, base[number], images[number], steps)
        if tolerance is not None:
            path.refine(tolerance, max_steps)
        paths.append(path)
        if progress is not None:
            progress((number + 1) / len(images))
    return Attribution(
        torch.stack([path.attribution() for path in paths]),
        torch.tensor([path.low for path in paths]),
        torch.tensor([path.high for path in paths]),
        torch.tensor([path.steps for path in paths]),
        backward.targets,
    )


@dataclass(frozen=True, eq=False)
class _Interval:
    """A part of the path: where it lies (0 to 1), the target's value at its ends and its middle,
    and the gradient at the middle, (3, H, W)."""

    start: float
    end: float
    low: float
    high: float
    middle: float
    gradient: Tensor
    error: float  # of the value's change over this part, how much the gradient does not explain
    size: float  # the sum of what the pixels add over this part, without their signs


class _Path:
    """The straight path from a baseline to an image (3, H, W), cut into intervals."""

    def __init__(
        self,
        backward: _BackwardPass,
        number: int,
        base: Tensor,
        image: Tensor,
        count: int,
    ) -> None:
        self._backward, self._number = backward, number
        self._base, self._way = base, image - base
        self.steps = count if bool(self._way.any()) else 0
        ends = torch.linspace(0, 1, self.steps + 1).tolist()
        which = torch.full((len(ends),), number)
        values = backward.scores(self._at(ends), which).tolist()
        self.low, self.high = values[0], values[-1]
        spans = list(zip(ends[:-1], ends[1:], values[:-1], values[1:], strict=True))
        self.intervals = self._measured(spans) if spans else []

    def refine(self, tolerance: float, most: int) -> None:
        """Halve the worst intervals until the sum is within `tolerance` of the whole change."""
        whole, ends = abs(self.high - self.low), abs(self.low) + abs(self.high)
        while True:
            missed = abs(sum(one.error for one in self.intervals))
            rounding = _ROUNDING * (ends + sum(one.size for one in self.intervals))
            if missed <= tolerance * whole + rounding:
                return
            count = min(_AT_ONCE, (most - self.steps) // 2)
            worst = sorted(self.intervals, key=lambda one: -abs(one.error))[:count]
            if not worst:
                return
            halves = self._measured([span for one in worst for span in _halves(one)])
            left = [one for one in self.intervals if one not in worst]
            self.intervals = sorted([*left, *halves], key=lambda one: one.start)
            self.steps += len(halves)

    def attribution(self) -> Tensor:
        """The sum over the intervals, (3, H, W)."""
        total = torch.zeros(self._way.shape, dtype=torch.float64)
        for one in self.intervals:
            total += one.gradient.double() * (one.end - one.start)
        return (total * self._way).float()

    def _at(self, places: Sequence[float]) -> Tensor:
        return self._base + torch.tensor(places).view(-1, 1, 1, 1) * self._way

    def _measured(self, spans: Sequence[tuple[float, float, float, float]]) -> list[_Interval]:
        middles = [(start + end) / 2 for start, end, _, _ in spans]
        which = torch.full((len(spans),), self._number)
        gradients, values = self._backward.gradients(self._at(middles), which)
        added = gradients[:, 0].double() * self._way
        measured = []
        for span, middle, gradient, rates in zip(
            spans, values.tolist(), gradients[:, 0], added, strict=True
        ):
            start, end, low, high = span
            change, size = float(rates.sum()), float(rates.abs().sum())
            error = high - low - change * (end - start)
            measured.append(_Interval(*span, middle, gradient, error, size * (end - start)))
        return measured


def _halves(whole: _Interval) -> list[tuple[float, float, float, float]]:
    """Start, end and the values there, of both halves."""
    half = (whole.start + whole.end) / 2
    return [
        (whole.start, half, whole.low, whole.middle),
        (half, whole.end, whole.middle, whole.high),
    ]


# Grad-CAM: the maps of one layer, weighted by their gradients


@dataclass(frozen=True)
class GradCam:
    """Where the maps of a layer speak for a target: `values` (N, H, W), one number for each pixel
    of the images, 0 or more.

    `coarse` (N, h, w) is the same at the size of the maps of the `layer`. `targets` has one target
    for each image.
    """

    values: Tensor
    coarse: Tensor
    layer: str
    targets: tuple[Target, ...]


def grad_cam(
    network: Network, images: Tensor, target: Targets, *, layer: str | None = None
) -> GradCam:
    """Grad-CAM: a layer's maps, each weighted by what it does for the target (Selvaraju et al.
    2017), for images (N, 3, H, W).

    The weight of a map is the mean, over its positions, of the target's gradient. The weighted sum
    of the maps, without what lies below zero, is enlarged to the image bilinearly. `layer` is any
    layer with maps on the way to the target. Without it, it is the last convolution there, with
    what follows at the same size: its ReLU, or the block that it ends. Of a unit with a map, this
    is the unit's own map; in a network that ends in an average over its class maps, the class map
    (`tasks.class_map`) over its number of positions.

    Errors: as `gradient`; `BadSetting` for a layer without maps or not on the way to the target,
    and where there is no convolution.

    >>> from torch import nn
    >>> from labsupport import networks
    >>> module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    >>> network = networks.wrap(module, input_size=8)
    >>> cam = grad_cam(network, torch.rand(5, 3, 8, 8), 1)
    >>> cam.layer, cam.coarse.shape, cam.values.shape
    ('relu1', torch.Size([5, 6, 6]), torch.Size([5, 8, 8]))
    """
    backward = _BackwardPass.prepare(network, images, target, ("backprop",))
    chosen = _layer_with_maps(network, backward.node, layer)
    part = network.part((network.node(chosen.name), backward.node))

    def weighted(places: Tensor) -> Tensor:
        which = places.cpu()
        with torch.enable_grad():
            pixels = network.send(images.detach()[which]).requires_grad_(True)
            maps, activations = part(pixels)
            score = network.numbers(backward.read(activations, which)).sum()
            gradient = gradient_of(score, maps, of=chosen.title)
        weights = gradient.mean((2, 3), keepdim=True)
        total: Tensor = (weights * maps.detach()).sum(1)
        return total.relu().cpu()

    coarse = backward.in_groups(weighted, len(images))
    size = (images.shape[2], images.shape[3])
    values = F.interpolate(coarse[:, None], size, mode="bilinear")[:, 0]
    return GradCam(values, coarse, chosen.title, backward.targets)


def _layer_with_maps(network: Network, node: fx.Node, name: str | None) -> Layer:
    """The layer of that name, if it has maps and a node is computed from it; or the last one with
    maps that are as large as the last convolution's."""
    nodes = [one.node for one in network.operations]
    way = nodes[: nodes.index(node) + 1]
    if not network.opaque:  # of that it is only known what comes before what
        needed = needed_for([node])
        way = [one for one in way if one in needed]
    known = [one for one in network.layers if network.node(one.name) in way]
    with_maps = [one for one in known if one.has_map]
    if name is not None:
        chosen = network.layer(name)
        if chosen not in with_maps:
            close = ", ".join(one.title for one in with_maps[-3:]) or "none"
            raise BadSetting(
                f"{chosen.title} has no maps, or is not on the way to what is asked about; the "
                f"last layers there with maps: {close}"
            )
        return chosen
    sizes = [one.shape[1:] for one in with_maps if one.kind == "conv" and one.shape[1:] != (1, 1)]
    if not sizes:
        raise BadSetting(
            f"{network.name} has no convolution with a map on the way to what is asked about, and "
            "Grad-CAM weighs such maps: take another method, such as occlusion"
        )
    return [one for one in with_maps if one.shape[1:] == sizes[-1]][-1]


# Does the picture depend on what was learned?


def weighted_layers(network: Network) -> tuple[str, ...]:
    """The layers that have filters or weights, as the lecture names them, the last one first.

    Errors: `BadSetting` where none is known.
    """
    network.need_graph("the layers with weights")
    nodes = [one.node for one in network.operations if one.kind in ("conv", "linear")]
    if not nodes:
        raise BadSetting(f"{network.name} has no convolution and no linear layer")
    return tuple(network.layer_of(node).title for node in reversed(nodes))


def randomized(network: Network, layer: str, *, seed: int = 0) -> Network:
    """A copy of the network whose weights are random from its scores down to `layer`.

    Filters and weights get normal numbers of the size that keeps a signal alive through ReLUs
    (He et al. 2015), biases zero; everything below the layer stays as it was learned.

    Errors: `UnknownLayer`.
    """
    network.need_graph("random weights down to a layer")
    down_to = network.node(layer, for_weights=True)
    title = network.layer_of(down_to).title
    changed = network.copy(source=f"{network.source}, random down to {title}")
    for node in reversed(changed.graph.graph.nodes):
        _redraw(changed, node, seed)
        if node.name == down_to.name:
            return changed
    return changed


@dataclass(frozen=True)
class Randomization:
    """A step of `cascading_randomization`: everything from the scores down to `layer` is random.

    `layer` is "" and `count` 0 for the network as it was learned. By rule: the `gradients`, and
    how like the learned network's their magnitudes are, by the `rank_correlation` of the pixels
    (Spearman's) and by the structural similarity, `ssim`. `progress` (0 to 1) is the share that is
    done.
    """

    layer: str
    count: int
    gradients: Mapping[str, Gradient]
    rank_correlation: Mapping[str, float]
    ssim: Mapping[str, float]
    progress: float


@framed(result=tuple)
def cascading_randomization(
    network: Network,
    image: Tensor,
    target: TargetLike,
    *,
    rules: Sequence[str] = RULES,
    seed: int = 0,
) -> Iterator[Randomization]:
    """Make a network's layers random one by one from the top, and look what the gradients do.

    Adebayo et al., "Sanity checks for saliency maps", 2018: a picture that stays the same does not
    show what the network has learned. `image` is (1, 3, H, W). The call gives all steps; the first
    one is the learned network.

    Errors: as `gradient`.
    """
    network.need_graph("random weights layer by layer")
    learned = gradients(network, image, target, rules=rules)
    return _randomizations(network, image.detach(), network.target(target), learned, seed)


def _randomizations(
    network: Network,
    image: Tensor,
    target: Target,
    learned: Mapping[str, Gradient],
    seed: int,
) -> Iterator[Randomization]:
    before = {rule: magnitude(one) for rule, one in learned.items()}
    yield _compared("", 0, learned, before, 0.0)
    changed = network.copy(source=f"{network.source}, made random")
    layers = weighted_layers(network)
    names = {network.node(layer, for_weights=True).name: layer for layer in layers}
    for node in reversed(changed.graph.graph.nodes):
        _redraw(changed, node, seed)
        if node.name in names:
            count = layers.index(names[node.name]) + 1
            now = gradients(changed, image, target, rules=tuple(learned))
            yield _compared(names[node.name], count, now, before, count / len(layers))


def magnitude(attribution: Gradient | Attribution) -> Tensor:
    """How strongly each pixel counts, (N, H, W) in [0, 1]: the largest of its three colours,
    without its sign, as a share of the image's strongest but for one pixel in a hundred.

    That one in a hundred is cut off at 1: a few loud pixels would leave the rest in the dark.
    """
    strength = attribution.values.abs().amax(1)
    rank = max(1, round(0.99 * strength[0].numel()))
    top = strength.flatten(1).kthvalue(rank).values[:, None, None]
    return (strength / torch.where(top > 0, top, strength.amax().clamp_min(1e-30))).clamp(max=1)


def _compared(
    layer: str,
    count: int,
    gradients: Mapping[str, Gradient],
    before: Mapping[str, Tensor],
    progress: float,
) -> Randomization:
    now = {rule: magnitude(one) for rule, one in gradients.items()}
    ranks = {rule: rank_correlation(before[rule], now[rule]) for rule in now}
    ssim = {rule: structural_similarity(before[rule][0], now[rule][0]) for rule in now}
    return Randomization(layer, count, gradients, ranks, ssim, progress)


def _redraw(network: Network, node: fx.Node, seed: int) -> None:
    """Give a node's own weights new values, which depend on its name and the seed alone: those of
    its layer, or those that a forward pass hands to a function itself."""
    if node.op == "call_module":
        layer = network.graph.get_submodule(str(node.target))
        _redraw_weights(layer.named_parameters(), str(node.target), seed)
    learned = dict(network.graph.named_parameters())
    for read in node.all_input_nodes:
        if read.op == "get_attr" and str(read.target) in learned:
            name = str(read.target)
            _redraw_weights([(name.rpartition(".")[2], learned[name])], name, seed)


def _redraw_weights(weights: Iterable[tuple[str, Tensor]], whose: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed + zlib.crc32(whose.encode()))
    for name, weight in weights:
        if weight.ndim > 1:
            drawn = torch.randn(weight.shape, generator=generator)
            weight.data.copy_(drawn * (2 / weight[0].numel()) ** 0.5)
        else:  # a bias, or the scale of a batch norm
            weight.data.fill_(float(name == "weight"))


# What is asked


@dataclass(frozen=True)
class _BackwardPass:
    """A backward pass from targets to the image by some rules, for any number of images."""

    network: Network
    node: fx.Node
    part: PartWithRules
    targets: tuple[Target, ...]
    rules: tuple[str, ...]

    @classmethod
    def prepare(
        cls, network: Network, images: Tensor, target: Targets, rules: Sequence[str]
    ) -> _BackwardPass:
        network.check(images)
        given = target if isinstance(target, list) else [target] * len(images)
        size = (images.shape[2], images.shape[3])
        targets = tuple(network.placed(network.target(one), size) for one in given)
        if len(targets) != len(images):
            raise BadSetting(f"{len(targets)} targets for {len(images)} images: give one for each")
        nodes = {network.node_of(one) for one in targets}
        if len(nodes) > 1:
            raise BadSetting("the targets of one call lie in one layer; call once for each layer")
        (node,) = nodes
        part, unique = part_with_rules(network, node, rules), tuple(dict.fromkeys(rules))
        return cls(network, node, part, targets, unique)

    def result(self, values: Tensor, scores: Tensor, rule: str) -> Gradient:
        return Gradient(values, scores, self.targets, rule, self.part.relus)

    def gradients(self, images: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients (N, rules, 3, H, W) and the targets' values (N,), on the CPU.

        `which` (N,) says which of the targets each image has.
        """
        scores = torch.empty(len(images))

        def back(places: Tensor) -> Tensor:
            chosen = places.cpu()
            gradients, scores[chosen] = self._back(images[chosen], which[chosen])
            return gradients

        return self.in_groups(back, len(images)), scores

    def in_groups(self, work: Callable[[Tensor], Tensor], count: int) -> Tensor:
        """What `work` makes of the images' numbers, a few at a time; on a CPU, by all cores."""
        places, device = torch.arange(count), self.network.device
        if device.type != "cpu":
            return devices.in_batches(work, places, device=device)
        cores = torch.get_num_threads()
        groups = torch.split(places, min(_AT_ONCE, -(-count // cores)))
        done = workers.in_order(lambda: work, groups, threads=cores)
        return torch.cat([result for _, result in done])

    def _back(self, images: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """One forward pass, and a backward pass for each rule."""
        current, gradients = GradientRule(), list[Tensor]()
        with torch.enable_grad():
            pixels = self.network.send(images).detach().requires_grad_(True)
            scores = self.network.numbers(self.read(self.part(pixels, current), which))
            for rule in self.rules:
                current.name = rule
                again = rule != self.rules[-1]
                gradients.append(gradient_of(scores.sum(), pixels, again=again))
        return torch.stack(gradients, 1).cpu(), scores.detach().cpu()

    def scores(self, images: Tensor, which: Tensor) -> Tensor:
        """The targets' values (N,) alone."""

        def forward(places: Tensor) -> Tensor:
            chosen = places.cpu()
            with torch.no_grad():
                pixels = self.network.send(images[chosen])
                return self.read(self.part(pixels, GradientRule()), which[chosen]).cpu()

        return self.in_groups(forward, len(images))

    def read(self, activations: Tensor, which: Tensor) -> Tensor:
        """The targets' values (N,) from the activations of their layer."""
        if len(set(self.targets)) == 1:
            return self.targets[0].value(activations)
        chosen = [self.targets[place] for place in which.tolist()]
        return torch.cat([one.value(activations[i : i + 1]) for i, one in enumerate(chosen)])

    def one_hot(self, activations: Tensor) -> Tensor:
        """Zeros, but for a one at each image's neuron; a whole channel shares the one evenly."""
        hot = torch.zeros_like(activations)
        for place, target in enumerate(self.targets):
            channel = hot[place, target.index]
            if target.position is None:
                channel.fill_(1 / channel.numel())
            else:
                channel[target.position] = 1
        return hot


modes.keep(__name__)
