"""Lab 13: ten numbers to push, templates that are learned, pictures with weights mixed in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, one_of
from labsupport.core.images.crops import crops
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network, Prediction
from labsupport.methods import linear
from labsupport.methods.linear import LinearClassifier
from labsupport.ui import declare, figures, ink
from labsupport.ui.panel import Panel

SETS = {
    "digits, 28 × 28": "digits",
    "clothes, 28 × 28": "fashion",
    "photos, 32 × 32": "photos32",
    "photos, 64 × 64": "photos64",
}
# Downloads: offered only to who asks for them by name.
ELSEWHERE = {"CIFAR-10, 32 × 32": "CIFAR10", "Imagenette, 64 × 64": "Imagenette"}
DECAY = declare.choice(
    {"none": 0.0, "0.01": 0.01, "0.1": 0.1, "1": 1.0, "10": 10.0}, 0.1, label="weight decay"
)
ALONG = {"the weights": "weights", "only their signs": "sign"}
CONVNETS = {"digits": "lenet5", "photos32": "convnetjs"}
ON_BLACK = ("digits", "fashion")
EPOCHS = dict.fromkeys([*SETS.values(), *ELSEWHERE.values()], 40) | dict.fromkeys(ON_BLACK, 6)
PICTURES = 12  # of each class, to choose from
RULES = {
    "every weight +1 or −1 (the slide)": "signs",
    "scores keep their spread": "spread",
}
SIDES = (2, 4, 8, 16, 32, 64, 224)  # of the cut-outs, from 12 numbers to 150 528
DIMENSIONS = (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 150_528)
_SHOWN = 192  # pixels that a small picture is enlarged to, or nearly
_SLIDE = tuple(zip(linear.SLIDE_INPUT, linear.SLIDE_WEIGHTS, strict=True))


# What is learned from


@lru_cache(maxsize=4)
def training_data(data: str) -> tuple[LabelledImages, LabelledImages]:
    """What a classifier learns from, and what it is tested with.

    `data` is "digits", "fashion", "photos32", "photos64", or a download: "CIFAR10", "Imagenette".
    """
    one_of(data, EPOCHS, "data")
    if data == "digits":
        return images.digits(), images.digits("test")
    if data == "fashion":
        return images.fashion(), images.fashion("test")
    if data in ("photos32", "photos64"):
        size = int(data[-2:])
        return crops(per_class=200, size=size), crops("test", per_class=100, size=size)
    return _downloaded(data, "train", 1000), _downloaded(data, "test", 400)


def _downloaded(data: str, split: str, count: int) -> LabelledImages:
    examples = images.torchvision_set(data, split=split, count=count)
    side = 64 if data == "Imagenette" else 32
    return replace(examples, images=images.resize(examples.images, side))


@lru_cache(maxsize=24)
def trained(data: str, decay: float = 0.1) -> LinearClassifier:
    """The linear classifier of a set of pictures, trained to the end; kept for the next time."""
    train, _ = training_data(data)
    return linear.train(train, weight_decay=decay, epochs=EPOCHS[data]).classifier


def accuracy(classifier: LinearClassifier, examples: LabelledImages) -> float:
    """The share of the pictures that a classifier names rightly, 0 to 1."""
    answers = classifier.scores(examples.images).argmax(1).cpu()
    return float((answers == examples.labels).float().mean())


@lru_cache(maxsize=64)
def chosen(data: str, category: str, decay: float = 0.1) -> torch.Tensor:
    """The first dozen test pictures of a class that the classifier names rightly (N, 3, H, W).

    Where it names fewer rightly, there are fewer.
    """
    classifier, (_, test) = trained(data, decay), training_data(data)
    label = classifier.index(category)
    own = test.images[test.labels == label]
    right = own[classifier.scores(own).argmax(1).cpu() == label][:PICTURES]
    if not len(right):
        raise BadSetting(
            f"with decay {decay:g} no picture of {category!r} is named rightly: choose another"
        )
    return right


# Ten numbers


_INPUTS = declare.together(
    **{
        f"x{place}": declare.real(
            value, -6, 6, step=0.25, label=f"x{place} (weight {weight:+.0f})".replace("-", "−")
        )
        for place, (value, weight) in enumerate(_SLIDE, start=1)
    }
)


@declare.panel("Ten numbers", cost="instant")
def numbers_panel(inputs: Mapping[str, float] = _INPUTS) -> tuple[Image.Image, str]:
    """The slide's ten inputs as sliders, and what the classifier says."""
    start = torch.tensor(linear.SLIDE_INPUT)
    now = torch.tensor(list(inputs.values()), dtype=torch.float64)
    prediction = linear.predict(now, torch.tensor(linear.SLIDE_WEIGHTS))
    change = round(float((now - start).abs().max()), 9)  # a slider's steps add up to nearly 0
    words = (
        f"Score {round(prediction.score, 9) + 0.0:.4g}, P(y = 1) = {prediction.probability:.4f}. "
        f"Largest change from the slide's x: {change:.4g}."
    )
    return numbers_picture(now), words.replace("-", "−")


def numbers_picture(inputs: Sequence[float] | torch.Tensor) -> Image.Image:
    """Each weight times input as a bar, the slide's own beside it, and the probability."""
    weights = np.array(linear.SLIDE_WEIGHTS)
    before, now = weights * np.array(linear.SLIDE_INPUT), weights * np.asarray(inputs)
    prediction = linear.predict(inputs, linear.SLIDE_WEIGHTS)
    sides = [
        Prediction("y = 1", prediction.probability, prediction.score, 1),
        Prediction("y = 0", 1 - prediction.probability, -prediction.score, 0),
    ]

    def plot(axes: figures.Axes) -> None:
        places = np.arange(1, len(now) + 1)
        axes.bar(places - 0.2, before, 0.38, color="#bbbbbb", label="the slide's x", hatch="//")
        axes.bar(places + 0.2, now, 0.38, color=ink.SERIES[0], label="now")
        axes.axhline(0, color="#333333", linewidth=1)
        axes.set_xticks(places, [f"x{place}" for place in places])
        axes.set_ylim(-6.6, 6.6)
        axes.legend(frameon=False, fontsize=9, loc="lower left", ncols=2)

    parts = figures.drawn(plot, size=(620, 260), up="weight × input")
    answer = figures.bars(sides, width=420, highlight="y = 1")
    titles = ["What each number adds to the score", "What the classifier says"]
    return figures.side_by_side([parts, answer], titles, columns=1)


# How small the step may be


@dataclass(frozen=True)
class StepCurve:
    """For each number of inputs, the step that changes the answer: by theory, and as measured."""

    inputs: tuple[int, ...]
    theory: tuple[float, ...]
    measured: tuple[float, ...]


@lru_cache(maxsize=8)
def random_steps(rule: str, gain: float = 5.0) -> StepCurve:
    """A classifier with random weights in 10 to 150 528 dimensions: the step for `gain`.

    `rule` says what stays as the dimension grows: "signs", weights of ±1; or "spread", the
    standard deviation of the scores of random inputs, as for ten weights of ±1. `measured` takes
    the steps one after the other until the score has gained so much.
    """
    theory, measured = [], []
    for count in DIMENSIONS:
        random = torch.Generator().manual_seed(count)
        x = torch.randn(count, generator=random, dtype=torch.float64)
        w = torch.randn(count, generator=random, dtype=torch.float64).sign()
        w = w if rule == "signs" else w * (10 / count) ** 0.5
        theory.append(linear.minimal_step(w, gain))
        measured.append(linear.step_to_boundary(x, w, -float(x @ w) - gain))
    return StepCurve(DIMENSIONS, tuple(theory), tuple(measured))


@lru_cache(maxsize=2)
def learned_steps(decay: float = 0.001, pictures: int = 24) -> StepCurve:
    """Animal or not, learned from the cut-outs at growing size: the median step that flips it.

    Logistic regression on raw pixels; `measured` keeps the pixels inside [0, 1], `theory` does not
    know that bound. `decay` counts per squared length of the pictures, so that all sizes
    decay alike.
    """
    cutouts = images.cutouts()
    whole = torch.cat([one.image for one in cutouts])
    labels = torch.tensor([int(category == "animals") for category in cutouts.categories])
    theory, measured = [], []
    for side in reversed(SIDES):  # each from the next larger one, which is quicker
        whole = torch.nn.functional.interpolate(whole, (side, side), mode="area")
        points = whole.flatten(1)
        mean = points.mean(0)
        centred = points - mean
        length = float(centred.square().sum(1).mean())
        fit = linear.fit_logistic(centred, labels, weight_decay=decay * length / 10)
        bias = fit.bias - float(mean.double() @ fit.weights)
        few = points[:: max(1, len(points) // pictures)][:pictures]
        scores = (few.double() @ fit.weights + bias).abs()
        flips = [linear.step_to_boundary(one, fit.weights, bias, bounds=(0, 1)) for one in few]
        theory.append(linear.minimal_step(fit.weights, float(scores.median())))
        measured.append(float(np.median(flips)))
    inputs = tuple(3 * side * side for side in SIDES)
    return StepCurve(inputs, tuple(reversed(theory)), tuple(reversed(measured)))


@declare.panel("How small the step may be", cost="quick")
def steps_panel(
    rule: str = declare.choice(RULES, label="what stays"),
    score: float = declare.real(-3, -6, -0.5, step=0.5, label="score before"),
    after: float = declare.real(2, 0, 6, step=0.5, label="score wanted"),
    place: int = declare.choice(
        {f"{count:,}".replace(",", " "): place for place, count in enumerate(DIMENSIONS)},
        label="inputs",
    ),
) -> tuple[Image.Image, str]:
    """The step against the number of inputs, for what one keeps while the number grows."""
    curve = random_steps(rule, after - score)
    step, count = curve.theory[place], curve.inputs[place]
    by_chance = (after - score) / count**0.5  # all weights are equally large
    words = (
        f"{count} inputs: every one moves by {step:.3g}, and the score goes from {score:g} to "
        f"{after:g}. Random signs with the same step move it by about {by_chance:.2g}."
    )
    names = {"signs": "weights of ±1", "spread": "scores keep their spread"}
    picture = steps_picture({names[rule]: curve}, mark=place)
    return picture, words.replace("-", "−")


def steps_picture(curves: Mapping[str, StepCurve], *, mark: int | None = None) -> Image.Image:
    """Steps against inputs, both logarithmic: a line for theory, marks for what was measured."""

    def plot(axes: figures.Axes) -> None:
        for place, (name, one) in enumerate(curves.items()):
            colour, dashes = ink.SERIES[place], ink.DASHES[place % len(ink.DASHES)]
            axes.plot(one.inputs, one.theory, dashes, color=colour, label=f"{name}: theory")
            marks = "osD^"[place]
            axes.plot(one.inputs, one.measured, marks, color=colour, label=f"{name}: measured")
            if mark is not None:
                axes.axvline(one.inputs[mark], color="#bbbbbb", linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(frameon=False, fontsize=9)

    return figures.drawn(plot, size=(640, 360), across="number of inputs", up="step of each input")


# Templates


def templates(
    classifier: LinearClassifier, *, shared: bool = False, side: int = 112
) -> Image.Image:
    """A class's weights as a picture of about `side` pixels, zero as middle grey, its bias below
    the name.

    Each has its own scale, or all have one (`shared`).
    """
    weights = classifier.weights.cpu()
    shown = figures.spread(weights, shared=shared)
    titles = [
        f"{name}, bias {ink.number(float(bias))}"
        for name, bias in zip(classifier.categories, classifier.bias, strict=True)
    ]
    times = max(1, round(side / weights.shape[-1]))
    return figures.mosaic(shown, columns=(len(titles) + 1) // 2, enlarge=times, titles=titles)


def _draw_snapshot(
    one: linear.Snapshot,
    data: str,
    decay: float,
    shared: bool = declare.choice({"own": False, "shared by all": True}, label="scale"),
    size: int = declare.whole(128, 64, 192, step=32, unit="px", label="tiles"),
) -> tuple[Image.Image, str]:
    picture = templates(one.classifier, shared=shared, side=size)
    if not one.step:
        return picture, "Before the first step all weights are zero: press Run."
    words = (
        f"Step {one.step} of {one.steps}: loss {one.loss:.2f}, "
        f"{one.accuracy:.0%} right while learning, "
        f"{accuracy(one.classifier, training_data(data)[1]):.0%} of the test pictures; "
        f"decay {decay:g}, largest weight {float(one.classifier.weights.abs().max()):.2g}."
    )
    return picture, words


@declare.live("Templates that are learned", draw=_draw_snapshot, autostart=False)
def learning_panel(
    data: str = declare.choice(SETS, "photos32", label="learns from", asked=ELSEWHERE),
    decay: float = DECAY,
    epochs: int = declare.whole(40, 1, 60),
) -> Iterator[linear.Snapshot]:
    """Templates while they are learned. `data` may be "CIFAR10" or "Imagenette": a download."""
    return linear.train.frames(training_data(data)[0], weight_decay=decay, epochs=epochs)


# Mixing


def mixing_panel(data: str = "photos64", source: str = "", target: str = "") -> Panel:
    """Mix a class's weights into a picture: before, what is added, after, and the answers."""
    names = training_data(data)[0].categories
    usual, most = (100, 200) if data in ON_BLACK else (8, 60)  # what stands on black needs more
    among = next((words for words, key in (SETS | ELSEWHERE).items() if key == data), data)
    convnet = networks.load(CONVNETS[data]) if data in CONVNETS else None

    @declare.panel(f"Mix in a little of another class ({among})", cost="quick")
    def mixing(
        source: str = declare.choice(names, source or names[0], label="from class"),
        place: int = declare.whole(0, 0, 5, label="picture"),
        target: str = declare.choice(names, target or names[1], label="to class"),
        strength: float = declare.real(usual, 0, most, step=0.5, unit="1/255"),
        along: str = declare.choice(ALONG, label="mix in"),
        decay: float = DECAY,
    ) -> tuple[Image.Image, str]:
        pictures, classifier = chosen(data, source, decay), trained(data, decay)
        picture = pictures[place % len(pictures)][None]
        mixed = linear.mix(classifier, picture, target, strength=strength / 255, along=along)
        shown = mixed_picture(classifier, mixed, convnet=convnet)
        return shown, mixed_words(classifier, mixed, target)

    return mixing()


def mixed_words(classifier: LinearClassifier, mixed: linear.MixedImages, target: str) -> str:
    """Which class it was, which it is, and how far the pixels moved."""
    wanted = classifier.index(target)
    first, last = int(mixed.before[0].argmax()), int(mixed.after[0].argmax())
    largest = float(mixed.perturbation.abs().max()) * 255
    return (
        f"{target}: {figures.per_cent(float(mixed.before[0, wanted]))} before, "
        f"{figures.per_cent(float(mixed.after[0, wanted]))} after. First answer "
        f"{classifier.categories[first]}, now {classifier.categories[last]}. "
        f"No pixel moved by more than {largest:.1f}/255."
    )


def mixed_picture(
    classifier: LinearClassifier, mixed: linear.MixedImages, *, convnet: Network | None = None
) -> Image.Image:
    """The picture, what was added (enlarged, the factor said), the sum; below them the answers."""
    before = (mixed.images - mixed.perturbation).clamp(0, 1)
    times = max(1, round(_SHOWN / before.shape[-1]))
    largest = float(mixed.perturbation.abs().max())
    factor = 0.5 / largest if largest > 0 else 1.0
    added = (0.5 + factor * mixed.perturbation).clamp(0, 1)
    parts = [figures.enlarge(part, times) for part in (before, added, mixed.images)]
    titles = ["before", f"added, × {factor:.3g}, on grey", "after"]
    both = torch.cat([before, mixed.images])
    answers, names = classifier.predict(both, k=4), ["linear, before", "linear, after"]
    if convnet is not None:
        answers += convnet.predict(both, k=4)
        names += ["ConvNet, before", "ConvNet, after"]
    bars = [figures.bars(rows, width=300) for rows in answers]
    below = figures.side_by_side(bars, names, columns=2)
    return figures.side_by_side([figures.side_by_side(parts, titles), below], columns=1, gap=12)


# Bias and scale


def scales_picture(classifier: LinearClassifier, picture: torch.Tensor) -> Image.Image:
    """The answers of one classifier whose weights and biases are multiplied by three factors."""
    factors = (0.1, 1, 10)
    answers = [classifier.scaled(factor).predict(picture, k=4)[0] for factor in factors]
    titles = [f"all weights × {factor:g}" for factor in factors]
    return figures.side_by_side([figures.bars(rows, width=300) for rows in answers], titles)
