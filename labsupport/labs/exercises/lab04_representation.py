"""Lab 04: neighbors in code, nearness in a map; and the lab's questions."""

import torch
from torch.nn import functional as F

from labsupport.labs.exercises.draws import normal
from labsupport.ui.checking import Case, Cases, Exercise, Function, Question, Right

# 04.1


def _nearest(codes: torch.Tensor, number: int, k: int) -> list[int]:
    angles = F.cosine_similarity(codes, codes[number : number + 1])
    angles[number] = -2.0
    nearest: list[int] = angles.topk(k).indices.tolist()
    return nearest


def _by(closeness: torch.Tensor, number: int, k: int, *, itself: bool = False) -> list[int]:
    order: list[int] = closeness.argsort(descending=True).tolist()
    return [one for one in order if itself or one != number][:k]


def _codes_to_search() -> Cases:
    plain = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 1.0], [1.0, 2.0]])
    return [
        Case("four codes of two numbers", plain, 0, 2, expected=[2, 3]),
        Case(
            "codes of different lengths",
            normal(9, 5, seed=44) * torch.arange(1.0, 10)[:, None],
            4,
            3,
        ),
        Case("the last one asks", normal(12, 8, seed=42), 11, 4),
    ]


def _length_matters(function: Function) -> str | None:
    codes = normal(8, 4, seed=43)
    longer = codes * torch.linspace(0.5, 4, 8)[:, None]
    if list(function(codes, 2, 3)) == list(function(longer, 2, 3)):
        return None
    return "the same directions at other lengths give other neighbors."


NEAREST = Exercise(
    id="04.1",
    title="Who is nearest?",
    minutes=6,
    reference=_nearest,
    cases=_codes_to_search,
    hints=(
        "Divide each code by its length: `codes / codes.norm(dim=1, keepdim=True)`. The product of "
        "two such rows is the cosine of their angle.",
        "`unit @ unit[number]` gives all cosines at once; the image's own is 1 and must not win.",
        "`cosines[number] = -1`, then `cosines.argsort(descending=True)[:k].tolist()`.",
    ),
    mistakes={
        "the image is its own nearest neighbor: leave it out.": (
            lambda codes, number, k: _by(
                F.cosine_similarity(codes, codes[number : number + 1]), number, k, itself=True
            )
        ),
        "the farthest come first: a large cosine is a small angle.": (
            lambda codes, number, k: _by(
                -F.cosine_similarity(codes, codes[number : number + 1]), number, k
            )
        ),
        "the plain product: long codes win, whatever their direction.": (
            lambda codes, number, k: _by(codes @ codes[number], number, k)
        ),
        "the plain product, not the angle; and the image itself is among them.": (
            lambda codes, number, k: _by(codes @ codes[number], number, k, itself=True)
        ),
        "the cosines themselves; the numbers of the images are asked for.": (
            lambda codes, number, k: (
                F.cosine_similarity(codes, codes[number : number + 1])
                .topk(k + 1)
                .values[1:]
                .tolist()
            )
        ),
        "the straight distance, not the angle; and the image itself is among them.": (
            lambda codes, number, k: _by(
                -(codes - codes[number]).norm(dim=1), number, k, itself=True
            )
        ),
        "the straight distance, not the angle.": (
            lambda codes, number, k: _by(-(codes - codes[number]).norm(dim=1), number, k)
        ),
    },
    laws={"Only directions count.": _length_matters},
)


# 04.2


def _near_in_map(points: torch.Tensor) -> torch.Tensor:
    near = 1 / (1 + torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") ** 2)
    return _shared(near)


def _shared(near: torch.Tensor) -> torch.Tensor:
    near = near - torch.diag(near.diagonal())
    return near / near.sum()


def _apart(points: torch.Tensor) -> torch.Tensor:
    return (points[:, None] - points[None]).square().sum(2)


def _maps() -> Cases:
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    sides = torch.tensor([[0.0, 1 / 2, 1 / 5], [1 / 2, 0.0, 1 / 6], [1 / 5, 1 / 6, 0.0]])
    return [
        Case("three points", corner, expected=sides / sides.sum()),
        Case("ten points", normal(10, 2, seed=45) * 3),
        Case(
            "two points",
            torch.tensor([[0.0, 0.0], [7.0, 7.0]]),
            expected=torch.tensor([[0.0, 0.5], [0.5, 0.0]]),
        ),
    ]


def _not_one(function: Function) -> str | None:
    total = float(function(normal(15, 2, seed=46) * 5).sum())
    return None if abs(total - 1) < 1e-4 else f"all of them together make {total:.3g}, not 1."


NEARNESS = Exercise(
    id="04.2",
    title="Nearness in the map",
    minutes=10,
    reference=_near_in_map,
    cases=_maps,
    hints=(
        "`points[:, None] - points[None]` holds every difference, (N, N, 2): square it and sum "
        "over the last axis.",
        "Turn the squared distances d2 into `1 / (1 + d2)`, and set the diagonal to 0: "
        "`near.fill_diagonal_(0)`.",
        "Divide by the sum over *all* pairs, `near.sum()`.",
    ),
    mistakes={
        "a Gaussian: that is the nearness in code, and SNE before the t came to it.": (
            lambda points: _shared(torch.exp(-_apart(points)))
        ),
        "each point is also near to itself: the diagonal must be 0.": (
            lambda points: 1 / (1 + _apart(points)) / (1 / (1 + _apart(points))).sum()
        ),
        "each row adds up to 1; here all pairs together do.": (
            lambda points: (
                _shared(1 / (1 + _apart(points)))
                / _shared(1 / (1 + _apart(points))).sum(1, keepdim=True)
            )
        ),
        "each point is also near to itself, and nothing is divided by the sum of all pairs.": (
            lambda points: 1 / (1 + _apart(points))
        ),
        "the numbers are not yet divided by the sum of all pairs.": (
            lambda points: (1 / (1 + _apart(points))).fill_diagonal_(0)
        ),
        "the distance is not squared.": lambda points: _shared(1 / (1 + _apart(points).sqrt())),
    },
    laws={"All pairs together make 1.": _not_one},
)


EXERCISES = (NEAREST, NEARNESS)

QUESTIONS = {
    "04.q1": Question(
        "From the pixels to the last layer: how does the share of neighbors of the same category "
        "grow?",
        (Right("step by step"), "not at all, until the last layer", "it is highest in the middle"),
        why="Each layer leaves out a little of what is only light and place.",
    ),
    "04.q2": Question(
        "t-SNE gets the pixels of 1797 digits and no labels. What will the map look like?",
        ("one round cloud", Right("about ten islands"), "a chain from 0 to 9, in order"),
        why="It keeps neighbors together, and the neighbors of a digit are mostly the same digit. "
        "It knows nothing about the order of numbers.",
    ),
    "04.q3": Question(
        "A grid has no gaps: every picture touches up to four others. Are those near in code?",
        ("always", Right("mostly, but not everywhere"), "no more than two pictures at random"),
        why="512 dimensions do not fit into two. Where far regions meet, strangers touch.",
    ),
}
