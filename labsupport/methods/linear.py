"""Linear classifiers: a score that is a weighted sum of pixels is enough to be fooled.

Karpathy, "Breaking linear classifiers on ImageNet", 2015; Goodfellow, Shlens and Szegedy,
"Explaining and harnessing adversarial examples", 2014. In a sum of many products a change of every
input that nobody sees adds up: a step eps along the signs of the weights moves the score by
eps * ||w||_1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from labsupport.core import device as devices
from labsupport.core import modes, training
from labsupport.core.errors import BadImage, BadSetting, one_of
from labsupport.core.frames import Stepwise, framed
from labsupport.core.images import check
from labsupport.core.images.perturbations import Bounds, perturbed
from labsupport.core.images.sets import LabelledImages
from labsupport.core.network import Network, Prediction
from labsupport.core.network.catalog import PLAIN, Recipe, network_of
from labsupport.core.network.network import index_of, ranking_of

SLIDE_INPUT = (2.0, -1.0, 3.0, -2.0, 2.0, 2.0, 1.0, -4.0, 5.0, 1.0)
SLIDE_WEIGHTS = (-1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0)
ALONG = ("weights", "sign")

_FRAME = 8  # steps of a training between two snapshots
_RATE = 10.0  # the learning rate, times the mean squared length of what is learned from
_LARGEST_DECAY = 0.05  # learning rate times weight_decay: beyond about 1 a step overshoots zero
_NEWTON = 100  # steps, at most
_BLOCK = 8192  # columns of a Gram matrix at a time
_SCAN = 24  # strengths that are tried before the search halves
_HALVINGS = 12
_FAR = 1e9  # a step beyond which no flip is looked for
_NEAR = 1e-12  # a step that is none
_FINE = 36  # halvings of a step in double precision


@dataclass(frozen=True)
class BinaryPrediction:
    """What a linear classifier of two classes says: `score` w·x + b and `probability` of the
    second class, σ(score)."""

    score: float
    probability: float


@dataclass(frozen=True)
class Logistic:
    """A classifier of two classes: `weights` (D,), in double precision, and `bias`.

    `loss` is the mean of -log P(label), without the decay's part; `steps` is how many Newton
    steps it took.
    """

    weights: Tensor
    bias: float
    loss: float
    steps: int

    def scores(self, points: Tensor) -> Tensor:
        """w·x + b for points (N, D), (N,)."""
        return points.to(self.weights) @ self.weights + self.bias


@dataclass(frozen=True)
class LinearClassifier:
    """A weight for each pixel and class: the score of a class is the sum of weight times pixel
    plus its bias, and a class's weights are a picture, its template.

    `weights` is (classes, 3, H, W), `bias` (classes,), for images as they are, in [0, 1]: the bias
    is the score of the black picture.
    """

    weights: Tensor
    bias: Tensor
    categories: tuple[str, ...]

    @modes.usual()
    def scores(self, images: Tensor) -> Tensor:
        """Scores (N, classes) of images (N, 3, H, W), before softmax, without a gradient.

        Errors: `BadImage` for what is no image, or one of another size.
        """
        check(images)
        if images.shape[1:] != self.weights.shape[1:]:
            wanted = ", ".join(map(str, self.weights.shape[1:]))
            raise BadImage(f"this classifier takes images (N, {wanted}), not {tuple(images.shape)}")
        flat = images.detach().to(self.weights).flatten(1)
        return flat @ self.weights.flatten(1).T + self.bias

    def probabilities(self, images: Tensor) -> Tensor:
        """The softmax of the scores, (N, classes)."""
        return self.scores(images).softmax(1)

    def predict(self, images: Tensor, k: int = 5) -> list[list[Prediction]]:
        """For each image its `k` most probable classes, the best first."""
        return ranking_of(self.scores(images), self.categories, k)

    def index(self, name: str | int) -> int:
        """The index of a class, by name or index; `UnknownClass` with the nearest names."""
        return index_of(name, self.categories, "this classifier")

    def scaled(self, factor: float) -> LinearClassifier:
        """All weights and biases times `factor`: the same answers, given with other confidence."""
        return replace(self, weights=self.weights * factor, bias=self.bias * factor)

    @modes.usual()
    def network(self) -> Network:
        """The same as a `Network`, for all methods that take one."""
        count, *_, height, width = self.weights.shape
        layer = _layer(self.weights[0].numel(), count)
        with torch.no_grad():
            layer.weight.copy_(self.weights.flatten(1))
            layer.bias.copy_(self.bias)
        module = nn.Sequential(nn.Flatten(), layer)
        categories, size = tuple(self.categories), (height, width)
        recipe = Recipe("linear", lambda: module, lambda: categories, size, *PLAIN)
        return network_of(recipe, module, "a linear classifier", device=self.weights.device)


@dataclass(frozen=True)
class Snapshot(Stepwise):
    """A linear classifier at one moment of its training, after `step` of `steps`."""

    classifier: LinearClassifier
    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class MixedImages:
    """Pictures with a little of a class's weights mixed in.

    `images` and `perturbation` (what was really added, after clipping) are (N, 3, H, W),
    `before` and `after` the probabilities (N, classes).
    """

    images: Tensor
    perturbation: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class MinimalStrengths:
    """How much it takes to bring each image into each class, (N, classes); 0 where it is already.

    `measured` is with pixels kept inside [0, 1], infinite where full strength does not do it;
    `theory` is the closed form that knows no such bounds.
    """

    measured: Tensor
    theory: Tensor


# Two classes


def predict(inputs: Sequence[float] | Tensor, weights: Sequence[float] | Tensor, bias: float = 0.0
           ) -> BinaryPrediction:  # fmt: skip
    """P(y = 1 | x) = σ(w·x + b), what the linear classifier of two classes says.

    Errors: `BadSetting` unless there is a weight for each input.

    >>> first = predict(SLIDE_INPUT, SLIDE_WEIGHTS)
    >>> first.score, round(first.probability, 4)
    (-3.0, 0.0474)
    """
    x, w = (torch.as_tensor(part).detach().double().flatten() for part in (inputs, weights))
    if x.shape != w.shape or not len(x):
        raise BadSetting(f"{len(x)} inputs need as many weights, not {len(w)}")
    score = float(x @ w) + bias
    if not math.isfinite(score):
        raise BadSetting("inputs, weights and bias are numbers: among these are NaN or infinity")
    return BinaryPrediction(score, float(torch.sigmoid(torch.tensor(score, dtype=torch.float64))))


def minimal_step(weights: Sequence[float] | Tensor, gain: float) -> float:
    """How far each input has to move, at least, for the score to gain so much: gain / ||w||_1.

    No change with smaller steps can do it (Hölder's inequality), and x + step * sign(w) does.

    Errors: `BadSetting` for a gain below 0, or weights that are all zero.

    >>> minimal_step(SLIDE_WEIGHTS, 5.0)
    0.5
    """
    size = float(torch.as_tensor(weights).detach().double().abs().sum())
    if not 0 <= gain < math.inf:
        raise BadSetting(f"the gain is a number from 0 upwards, not {gain}")
    if not 0 < size < math.inf:
        raise BadSetting("weights that are all zero give every input the same score")
    return gain / size


def step_to_boundary(
    inputs: Sequence[float] | Tensor,
    weights: Sequence[float] | Tensor,
    bias: float = 0.0,
    *,
    bounds: Bounds | None = None,
) -> float:
    """The least step along ± sign(w) to the decision boundary, found by trying.

    The steps are taken and the score is computed anew, in double precision, kept inside `bounds`
    (0, 1) for pixels. Infinite where no step within the bounds does it. `minimal_step` is what
    theory says without bounds: |w·x + b| / ||w||_1.

    >>> round(step_to_boundary(SLIDE_INPUT, SLIDE_WEIGHTS), 6)
    0.3
    """
    x, w = (torch.as_tensor(part).detach().double().flatten() for part in (inputs, weights))
    side = 1.0 if predict(x, w, bias).score >= 0 else -1.0
    against = -side * w.sign()

    def flips(step: float) -> bool:
        changed = x + step * against
        changed = changed if bounds is None else changed.clamp(*bounds)
        return (float(changed @ w) + bias) * side <= 0

    far = _FAR if bounds is None else bounds[1] - bounds[0]
    high = 1.01 * minimal_step(w, abs(predict(x, w, bias).score)) + _NEAR
    while not flips(high):
        if high > far:
            return math.inf
        high *= 1.5
    low = 0.0
    for _ in range(_FINE):
        middle = (low + high) / 2
        low, high = (low, middle) if flips(middle) else (middle, high)
    return high


def fit_logistic(points: Tensor, labels: Tensor, *, weight_decay: float = 0.01) -> Logistic:
    """The logistic regression of labels 0 and 1 (N,) on points (N, D): the one minimum of

    mean(-log P(label)) + weight_decay/2 * ||w||², found by Newton's method in double precision. The
    bias does not decay. With more numbers than points (D > N) it works in the space that the points
    span.

    Errors: `BadSetting` for labels other than 0 and 1, for one class alone, for a weight decay that
    is not above 0 (separable points have no minimum without it).

    >>> line = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> fit = fit_logistic(line, torch.tensor([0, 0, 1, 1]), weight_decay=0.1)
    >>> bool(fit.weights > 0), abs(fit.bias) < 1e-9
    (True, True)
    """
    _check_points(points, labels, weight_decay)
    exact = torch.float32 if points.device.type == "mps" else torch.float64
    points = points.detach()
    with torch.no_grad():
        reduced, back = _coordinates(points, exact)
        ones = torch.ones_like(reduced[:, :1])
        solution, steps = _newton(torch.cat([reduced, ones], 1), labels.to(reduced), weight_decay)
        shares, bias = solution[:-1], solution[-1]
        scores = reduced @ shares + bias
        loss = nn.functional.binary_cross_entropy_with_logits(scores, labels.to(scores))
        weights = shares
        if back is not None:
            blocks = torch.split(points, _BLOCK, 1)
            weights = torch.cat([block.to(shares).T @ (back @ shares) for block in blocks])
    return Logistic(weights.cpu(), float(bias), float(loss), steps)


def _coordinates(points: Tensor, exact: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Points (N, D) in at most N coordinates of equal lengths and angles, and how to return:
    weights of the coordinates as shares of the points."""
    count, size = points.shape
    if size <= count:
        return points.to(exact), None
    gram = torch.zeros(count, count, dtype=exact, device=points.device)
    for block in torch.split(points, _BLOCK, 1):  # (N, 8192): all in double precision is too much
        exact_block = block.to(exact)
        gram.addmm_(exact_block, exact_block.T)
    values, vectors = torch.linalg.eigh(gram)
    kept = values > values[-1] * 1e-12
    roots = values[kept].sqrt()
    return vectors[:, kept] * roots, vectors[:, kept] / roots


def _newton(points: Tensor, labels: Tensor, weight_decay: float) -> tuple[Tensor, int]:
    """The minimum over (D + 1,), the last one the bias, which does not decay."""
    count, size = points.shape
    decays = torch.full((size,), weight_decay, dtype=points.dtype, device=points.device)
    decays[-1] = 0.0

    def objective(place: Tensor) -> Tensor:
        fit = nn.functional.binary_cross_entropy_with_logits(points @ place, labels)
        return fit + (decays * place.square()).sum() / 2

    place = points.new_zeros(size)
    tiny = torch.finfo(points.dtype).eps
    for step in range(_NEWTON):
        probability = torch.sigmoid(points @ place)
        gradient = points.T @ (probability - labels) / count + decays * place
        hessian = (points.T * (probability * (1 - probability))) @ points / count + torch.diag(
            decays + tiny
        )
        direction = torch.linalg.solve(hessian, gradient)
        decrement = float(gradient @ direction)  # twice what this step can still gain
        if decrement < 1e3 * tiny**2 + tiny * float(objective(place)):
            return place, step
        length = 1.0
        while (
            objective(place - length * direction) > objective(place) - length * decrement / 4
            and length > 1e-6
        ):
            length /= 2
        place = place - length * direction
    return place, _NEWTON


def _check_points(points: Tensor, labels: Tensor, weight_decay: float) -> None:
    if points.ndim != 2 or labels.shape != points.shape[:1]:
        raise BadSetting(
            f"points are (N, D) and labels (N,), not {tuple(points.shape)} and "
            f"{tuple(labels.shape)}; images become points by .flatten(1)"
        )
    if sorted(set(labels.tolist())) != [0, 1]:
        raise BadSetting("labels are 0 and 1, both of them there: (labels == 3).long()")
    if not weight_decay > 0 or not math.isfinite(weight_decay):
        raise BadSetting(f"weight_decay is a number above 0, such as 0.01, not {weight_decay}")
    if not bool(points.isfinite().all()):
        raise BadSetting("points are finite numbers; some of these are not")


# Many classes


@framed
def train(
    examples: LabelledImages,
    *,
    weight_decay: float = 0.1,
    epochs: float = 6,
    learning_rate: float | None = None,
    seed: int = 0,
) -> Iterator[Snapshot]:
    """Train a linear classifier on raw pixels, from zero weights on: the last `Snapshot`.

    `.frames` give one every few steps, the first before any step. The softmax classifier:
    mean(-log P(label)) + weight_decay/2 * ||w||², by `core.training.train`. Inside, pixels are
    centred and divided by their spread, which makes the steps better; that is folded into the
    weights and biases of the snapshots, which take pixels as they are. Without a `learning_rate` it
    is chosen by the images' size.

    Errors: `BadSetting` as of `core.training.train`.
    """
    images = examples.images.detach()
    channels = images.movedim(1, 0).flatten(1)
    mean, spread = channels.mean(1), channels.std().clamp_min(1e-3)
    centred = ((images - mean.view(3, 1, 1)) / spread).contiguous()
    if learning_rate is None:
        length = float(centred[:500].square().sum((1, 2, 3)).mean())
        learning_rate = min(_RATE / max(length, 1e-6), _LARGEST_DECAY / max(weight_decay, 1e-9))
    layer = _layer(images[0].numel(), len(examples.categories))
    for numbers in layer.parameters():  # convex: any start ends at the same place, zero too
        nn.init.zeros_(numbers)
    module = nn.Sequential(nn.Flatten(), layer).to(devices.pick())
    frames = training.train.frames(
        module,
        centred,
        examples.labels,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )

    def folded(now: nn.Module) -> LinearClassifier:
        """From weights of (pixel - mean) / spread to weights of pixels."""
        weights, bias = (value.detach().cpu() for value in now.parameters())
        weights = (weights / spread).view(-1, *images.shape[1:])
        bias = bias - (weights.sum((2, 3)) * mean).sum(1)
        return LinearClassifier(weights, bias, examples.categories)

    return _snapshots(module, frames, folded)


def _layer(size: int, classes: int) -> nn.Linear:
    """A layer whose first weights, which nobody reads, cost no global random numbers."""
    return nn.utils.skip_init(nn.Linear, size, classes)  # type: ignore[no-any-return, no-untyped-call]


def _snapshots(
    module: nn.Module,
    frames: Iterator[training.TrainingFrame],
    folded: Callable[[nn.Module], LinearClassifier],
) -> Iterator[Snapshot]:
    start = folded(module)
    count = len(start.categories)
    for frame in frames:
        if frame.step == 1:
            yield Snapshot(start, 0, frame.steps, math.log(count), 1 / count)
        if frame.step % _FRAME == 0 or frame.step == frame.steps:
            now = folded(frame.module)
            yield Snapshot(now, frame.step, frame.steps, frame.loss, frame.accuracy)


def classifier_of(network: Network) -> LinearClassifier:
    """The weights and biases of a network that is linear, for pixels in [0, 1].

    They are read off its answers: the bias is the score of the black picture, the weights are
    the gradients of the scores, the same at every picture.

    Errors: `BadSetting` for a network that is not linear.
    """
    count, size = len(network.categories), network.input_size
    # contiguous: the rows of a batch must not depend on how the network likes its images
    black = torch.zeros(count, 3, *size, device=network.device)
    with torch.enable_grad():
        black.requires_grad_(True)
        scores = network.scores(black)
        (weights,) = torch.autograd.grad(scores.diagonal().sum(), black)
    classifier = LinearClassifier(
        weights.detach().cpu().contiguous(), scores[0].detach().cpu(), network.categories
    )
    _check_linear(network, classifier)
    return classifier


def _check_linear(network: Network, classifier: LinearClassifier) -> None:
    random = torch.Generator().manual_seed(0)
    probe = torch.rand(4, 3, *network.input_size, generator=random)
    real = network.scores(probe).detach().cpu()
    scale = max(float(real.abs().max()), 1e-6)
    if not torch.allclose(real, classifier.scores(probe), rtol=0, atol=1e-3 * scale):
        raise BadSetting(
            f"{network.name} is not linear: its scores are no weighted sum of the pixels. "
            "linear.train(...) trains one that is"
        )


# Breaking them


def mix(
    classifier: LinearClassifier,
    images: Tensor,
    target: str | int,
    *,
    strength: float,
    along: str = "weights",
    subtract_current: bool = True,
) -> MixedImages:
    """Mix a little of a class's weights into pictures (Karpathy 2015).

    The direction is the target's template, less that of the class which the picture is in now
    (unless `subtract_current` is off), divided by its largest weight; so `strength`, 0 to 1, is
    the largest change of a pixel. With along="sign" every pixel moves by just that, along the
    direction's signs. The result is kept inside [0, 1].

    Errors: `UnknownClass`, `BadImage`, `BadSetting`.

    >>> two = torch.zeros(2, 3, 1, 2)
    >>> two[0, :, 0, 0] = two[1, :, 0, 1] = 1.0
    >>> toy = LinearClassifier(two, torch.zeros(2), ("left", "right"))
    >>> left = torch.tensor([0.75, 0.25]).expand(1, 3, 1, 2)
    >>> mix(toy, left, "right", strength=0.25).images[0, 0]
    tensor([[0.5000, 0.5000]])
    """
    before = classifier.probabilities(images)
    images = images.detach().to(classifier.weights)
    wanted = classifier.index(target)
    direction = _direction(classifier, before.argmax(1), wanted, along, subtract_current)
    changed = perturbed(images, direction, strength)
    after = classifier.probabilities(changed)
    return MixedImages(changed.cpu(), (changed - images).cpu(), before.cpu(), after.cpu())


def _direction(
    classifier: LinearClassifier, now: Tensor, target: int, along: str, subtract_current: bool
) -> Tensor:
    """One for each image that is in class `now` (N,): (N, 3, H, W), its largest number 1."""
    one_of(along, ALONG, "along")
    towards = classifier.weights[target].expand(len(now), -1, -1, -1)
    if subtract_current:
        towards = towards - classifier.weights[now]
    if along == "sign":
        return towards.sign()
    largest = towards.abs().amax((1, 2, 3), keepdim=True)
    return towards / largest.clamp_min(torch.finfo(towards.dtype).tiny)


def minimal_strength(
    classifier: LinearClassifier,
    images: Tensor,
    *,
    along: str = "weights",
    subtract_current: bool = True,
) -> MinimalStrengths:
    """For every image and class, the least strength of `mix` that makes it the first answer.

    Measured to 1/4000 of itself by trying strengths and then halving; beside it what theory says:
    along a direction d each score is a line, S + strength * w·d, and the target wins from where
    its line has crossed all others.

    Errors: `BadImage`, `BadSetting`.
    """
    scores = classifier.scores(images)
    images = images.detach().to(classifier.weights)
    now = scores.argmax(1)
    columns = []
    for target in range(len(classifier.categories)):
        direction = _direction(classifier, now, target, along, subtract_current)
        theory = _crossing(classifier, scores, direction, target)
        columns.append((_search(classifier, images, direction, target), theory))
    measured, theory = (torch.stack(part, 1) for part in zip(*columns, strict=True))
    mine = torch.arange(measured.shape[1], device=now.device) == now[:, None]
    return MinimalStrengths(
        measured.masked_fill(mine, 0.0).cpu(), theory.masked_fill(mine, 0.0).cpu()
    )


def _crossing(
    classifier: LinearClassifier, scores: Tensor, direction: Tensor, target: int
) -> Tensor:
    """The strength from which the target's line is above all others, (N,)."""
    rates = direction.flatten(1) @ classifier.weights.flatten(1).T  # (N, classes)
    lag = scores - scores[:, target, None]
    gains = rates[:, target, None] - rates
    # ahead and staying ahead: 0; lagging and never gaining: never
    needed = torch.where(gains > 0, lag / gains, torch.where(lag > 0, math.inf, 0.0))
    return needed.clamp_min(0).amax(1)


def _search(classifier: LinearClassifier, images: Tensor, direction: Tensor, target: int) -> Tensor:
    """The least strength in (0, 1] with which the target comes first, (N,)."""

    def wins(strength: Tensor) -> Tensor:
        steps = strength.view(-1, 1, 1, 1)
        return classifier.scores((images + steps * direction).clamp(0, 1)).argmax(1) == target

    low = images.new_zeros(len(images))
    high = torch.full_like(low, math.inf)
    for strength in torch.logspace(-4, 0, _SCAN).tolist():
        tried = torch.full_like(low, strength)
        open_ = high.isinf()
        won = wins(tried) & open_
        high = torch.where(won, tried, high)
        low = torch.where(open_ & ~won, tried, low)
    for _ in range(_HALVINGS):
        middle = torch.where(high.isinf(), 1.0, (low + high) / 2)
        won = wins(middle)
        high = torch.where(won & ~high.isinf(), middle, high)
        low = torch.where(won, low, middle)
    return high


def strength_matrix(
    classifier: LinearClassifier,
    images: Tensor,
    labels: Tensor,
    *,
    each: int = 10,
    along: str = "weights",
) -> Tensor:
    """The median least strength from each class (row) to each class (column), (classes, classes).

    Of each class the first `each` images count that the classifier names rightly; a class without
    any has a row of NaN, and so has the diagonal.

    Errors: `BadImage`, `BadSetting`.
    """
    check(images)
    if len(images) != len(labels) or each < 1:
        raise BadSetting(f"{len(images)} images need as many labels, not {len(labels)}; each >= 1")
    right = classifier.scores(images).argmax(1).cpu() == labels.cpu()
    count = len(classifier.categories)
    matrix = torch.full((count, count), math.nan)
    for label in range(count):
        chosen = torch.nonzero(right & (labels.cpu() == label)).flatten()[:each]
        if len(chosen):
            strengths = minimal_strength(classifier, images[chosen], along=along).measured
            matrix[label] = strengths.median(0).values.cpu()
            matrix[label, label] = math.nan
    return matrix


modes.keep(__name__)
