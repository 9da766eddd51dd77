"""Lab 02: what a unit sees, which patches are near copies, how often a name fits; questions."""

from collections.abc import Sequence

import torch

from labsupport.labs.exercises.draws import uniform
from labsupport.ui.checking import Case, Cases, Exercise, Question, Right

Layers = Sequence[tuple[int, int, int]]


def _looked_at(layers: Layers, place: int) -> set[int]:
    """Every place that is looked at, collected layer after layer; the padding's too."""
    seen = {place}
    for kernel, stride, padding in reversed(layers):
        seen = {stride * one - padding + more for one in seen for more in range(kernel)}
    return seen


def _span(layers: Layers, place: int, length: int) -> tuple[int, int]:
    inside = [pixel for pixel in _looked_at(layers, place) if 0 <= pixel < length]
    return min(inside), max(inside) + 1


def _stacks() -> Cases:
    return [
        Case("a convolution of 11, stride 4", [(11, 4, 0)], 2, 227, expected=(8, 19)),
        Case("a stride below", [(3, 2, 0), (3, 1, 0)], 1, 20, expected=(2, 9)),
        Case("the left border, padding 1", [(3, 1, 1)], 0, 10, expected=(0, 2)),
        Case("the right border, padding 1", [(3, 1, 1)], 9, 10, expected=(8, 10)),
        Case("AlexNet's conv2", [(11, 4, 2), (3, 2, 0), (5, 1, 2)], 13, 224),
        Case("four layers", [(7, 3, 2), (2, 2, 0), (5, 1, 1), (4, 2, 0)], 6, 400),
    ]


def _uncut(layers: Layers, place: int, _: int) -> tuple[int, int]:
    places = _looked_at(layers, place)
    return min(places), max(places) + 1


def _padless(layers: Layers, place: int, length: int) -> tuple[int, int]:
    return _span([(kernel, stride, 0) for kernel, stride, _ in layers], place, length)


def _last(layers: Layers, place: int, length: int) -> tuple[int, int]:
    first, end = _uncut(layers, place, length)
    return max(first, 0), min(end - 1, length)


def _whole_kernels(layers: Layers, place: int, length: int) -> tuple[int, int]:
    last = place
    for kernel, stride, padding in reversed(layers):
        last = stride * last - padding + kernel
    return _span(layers, place, length)[0], min(last, length)


SPAN = Exercise(
    id="02.1",
    title="Which pixels does a unit see?",
    minutes=12,
    reference=_span,
    cases=_stacks,
    hints=(
        "Go down from the unit: `first = last = place`, and then through `reversed(layers)`.",
        "Each layer turns `first` into `stride * first - padding`; so does `last`, and the kernel "
        "adds `kernel - 1` to it.",
        "At the end cut at the picture: `max(first, 0)` and `min(last + 1, length)`.",
    ),
    mistakes={
        "the padding is left out: it moves the first place to the left.": _padless,
        "one pixel is missing: the end is one past the last pixel.": _last,
        "each kernel adds `kernel - 1` to `last`; 1 is added once, at the end.": _whole_kernels,
        "it reaches over the picture's border: cut it to 0 and `length`.": _uncut,
        "the layers are taken from the picture upwards; follow the unit down.": (
            lambda layers, place, length: _span(list(reversed(layers)), place, length)
        ),
    },
)


def _keep(values: torch.Tensor, overlaps: torch.Tensor, most: float) -> list[int]:
    """The best of those that are left, again and again."""
    left, stay = torch.ones(len(values), dtype=torch.bool), []
    while bool(left.any()):
        best = int(values.masked_fill(~left, -torch.inf).argmax())
        left &= overlaps[best] <= most
        left[best] = False
        stay.append(best)
    return stay


def _among(
    values: torch.Tensor, overlaps: torch.Tensor, most: float, rivals: int | None = None
) -> list[int]:
    """Each patch against the better ones, also those left out; or against the first `rivals`."""
    order = values.argsort(descending=True).tolist()
    return [
        patch
        for place, patch in enumerate(order)
        if all(overlaps[patch, better] <= most for better in order[: min(place, rivals or place)])
    ]


def _table(*pairs: tuple[int, int, float], count: int) -> torch.Tensor:
    table = torch.eye(count)
    for one, other, share in pairs:
        table[one, other] = table[other, one] = share
    return table


def _patches() -> Cases:
    shares = uniform(12, 12, seed=220) * 0.8
    shares = torch.maximum(shares, shares.T).fill_diagonal_(1)
    pair, chain = _table((0, 1, 0.5), count=3), _table((0, 1, 0.5), (1, 2, 0.5), count=3)
    edge = _table((0, 1, 0.25), (1, 2, 0.26), count=3)
    return [
        Case("0 lies on the better 1", torch.tensor([1.0, 3.0, 2.0]), pair, 0.3, expected=[1, 2]),
        Case("1 lies on 0, 2 on 1", torch.tensor([3.0, 2.0, 1.0]), chain, 0.3, expected=[0, 2]),
        Case("just 0.25", torch.tensor([1.0, 2.0, 0.5]), edge, 0.25, expected=[1, 0]),
        Case(
            "everything may overlap", torch.tensor([0.5, 4.0, 2.0]), chain, 1.0, expected=[1, 2, 0]
        ),
        Case("twelve patches", uniform(12, seed=221), shares, 0.5),
    ]


KEEP = Exercise(
    id="02.2",
    title="Leave out near copies",
    minutes=12,
    reference=_keep,
    cases=_patches,
    hints=(
        "Go through the patches from the best to the worst: "
        "`sorted(range(len(values)), key=lambda number: -values[number])`.",
        "Keep a list `stay`. A patch joins it if it overlaps none of those in it too much.",
        "`all(overlaps[patch][better] <= most for better in stay)`",
    ),
    mistakes={
        "in the order of the list; the best comes first.": lambda *a: sorted(_keep(*a)),
        "nothing is left out: a patch goes if it overlaps one that stays by more than `most`.": (
            lambda values, _overlaps, _most: values.argsort(descending=True).tolist()
        ),
        "from the worst patch up; begin with the best one.": (
            lambda values, overlaps, most: _keep(-values, overlaps, most)
        ),
        "a patch is compared with itself, too: that overlap is 1.": (
            lambda values, overlaps, most: [
                patch
                for patch in values.argsort(descending=True).tolist()
                if bool((overlaps[patch] <= most).all())
            ]
        ),
        "a patch that was left out still pushes others out: compare with those that stay.": _among,
        "compared with the very best alone; every patch that stays counts.": (
            lambda values, overlaps, most: _among(values, overlaps, most, rivals=1)
        ),
        "an overlap of just `most` is still allowed.": (
            lambda values, overlaps, most: _keep(values, overlaps, most - 1e-6)
        ),
        "the values of the patches, not their numbers.": (
            lambda values, overlaps, most: values[_keep(values, overlaps, most)].tolist()
        ),
    },
)


def _precision(labels: Sequence[str], wanted: str) -> list[float]:
    hits = torch.tensor([float(label == wanted) for label in labels]).cumsum(0)
    return [float(share) for share in hits / torch.arange(1, len(labels) + 1)]


def _lists() -> Cases:
    mixed = ["cat", "dog", "cat", "cat"]
    return [
        Case("cat, dog, cat, cat", mixed, "cat", expected=[1.0, 1 / 2, 2 / 3, 3 / 4]),
        Case("none fits", ["owl", "bee"], "cat", expected=[0.0, 0.0]),
        Case("late hits", ["owl", "owl", "bee", "owl", "bee"], "bee"),
    ]


PRECISION = Exercise(
    id="02.3",
    title="Does the name fit?",
    minutes=8,
    reference=_precision,
    cases=_lists,
    tolerance=(1e-5, 1e-6),
    hints=(
        "Precision at 3 is the share of the first three labels that are the wanted one.",
        "`labels[:k].count(wanted) / k` is the precision at k.",
    ),
    mistakes={
        "the numbers of hits, not their shares.": (
            lambda labels, wanted: [
                (place + 1) * share for place, share in enumerate(_precision(labels, wanted))
            ]
        ),
        "each is divided by the whole length, not by k.": (
            lambda labels, wanted: [
                (place + 1) * share / len(labels)
                for place, share in enumerate(_precision(labels, wanted))
            ]
        ),
        "divided by all hits, which is the recall; divide by k.": (
            lambda labels, wanted: [
                labels[:k].count(wanted) / max(labels.count(wanted), 1)
                for k in range(1, len(labels) + 1)
            ]
        ),
        "1 or 0 for each label, not the share so far.": (
            lambda labels, wanted: [float(label == wanted) for label in labels]
        ),
    },
)

EXERCISES = (SPAN, KEEP, PRECISION)

QUESTIONS = {
    "02.q1": Question(
        "AlexNet's pool5 has 6 x 6 positions on 227 pixels. How many pixels wide does one see?",
        ("about 38, a sixth of the picture", "about 100", Right("195")),
        why="Fields overlap: neighbors lie 32 pixels apart, and each sees 195.",
    ),
    "02.q2": Question(
        "Nobody labeled parts of animals. Which of these will some unit of pool5 pick out?",
        ("only whole animals", Right("pointed ears"), "only colors and edges"),
        why="Unit 115: ears help to tell animals apart, so the network found them by itself.",
    ),
    "02.q3": Question(
        "A unit's nine best patches are all from road vehicles. Is it a detector of vehicles?",
        ("yes, nine of nine is proof enough", Right("perhaps it is"), "no, it cannot be one"),
        why="These are nine of 20 000 positions and more. The rest may tell otherwise.",
    ),
    "02.q4": Question(
        "Take a random mixture of all 384 channels for a unit. How well does a name fit it?",
        (
            "not at all, a mixture means nothing",
            Right("on average nearly as well"),
            "better than it fits a unit",
        ),
        why="The clearest name fits 0.31 of nine patches of a mixture on average, 0.33 of a "
        "unit's. But the clearest of all are units.",
    ),
}
