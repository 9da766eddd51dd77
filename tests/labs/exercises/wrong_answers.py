"""One wrong answer to each exercise, written as students write it: not with the course's version.

Each stands with words that the check must say of it. The exercises' own `mistakes` are tested
beside them.
"""

import torch


def not_cut(layers, place, length):
    first = last = place
    for kernel, stride, padding in reversed(layers):
        first, last = stride * first - padding, stride * last - padding + kernel - 1
    return first, last + 1


def against_the_best(values, overlaps, most):
    best, *others = sorted(range(len(values)), key=lambda number: -values[number])
    return [best, *(patch for patch in others if overlaps[patch][best] <= most)]


def without_zeros(weights):
    power = torch.fft.fft2(weights).abs().square().sum(0)
    steps = torch.fft.fftfreq(weights.shape[-1])
    radius = (steps[:, None] ** 2 + steps**2).sqrt()
    return (power[radius > 0.25].sum() / power.sum()).item()


def near_to_itself(points):
    near = 1 / (1 + ((points[:, None] - points[None]) ** 2).sum(2))
    return near / near.sum()


def hidden_in_place(image, box, colour):
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = torch.tensor(colour)[:, None, None]
    return image


def averaged(maps, style):
    own, wanted = (one.flatten(1) @ one.flatten(1).T / one.numel() for one in (maps, style))
    return (own - wanted).square().mean() / wanted.square().sum()


WRONG = [
    ("00.1", lambda scores: scores / scores.sum(), "without `exp`"),
    ("00.1", lambda scores: scores.softmax(1), "a `dim` (`axis`) that it does not have"),
    ("00.1", lambda scores: scores.exp() / scores.sum(), "the sum of the scores"),
    ("00.1", lambda scores: torch.zeros_like(scores), "every number is zero"),
    ("01.1", lambda side, kernel, stride, pad: (side + pad - kernel) // stride + 1, "added once"),
    ("01.2", lambda a, b, k, side: (a * b * k * k, a * b * k * k * side**2), "biases are missing"),
    ("02.1", not_cut, "reaches over the picture's border"),
    ("02.2", against_the_best, "compared with the very best alone"),
    ("02.3", lambda labels, it: [float(label == it) for label in labels], "1 or 0 for each"),
    ("03.1", lambda w: (w - w.min()) / (w.max() - w.min() + 1e-12), "stretched from the smallest"),
    ("03.1", lambda weights: weights / weights.abs().max(), "from -1 to 1"),
    ("03.1", lambda weights: (weights + 1) / 2, "not divided by the largest"),
    ("03.1", lambda weights: 0.5 + weights / (2 * weights.abs().max()), "division by zero"),
    ("03.1", lambda weights: (weights / weights.abs().max()).clamp(0, 1), "two things at once"),
    ("03.1", lambda weights: 0.5 + weights / weights.max() / 2, "`abs()` first"),
    ("03.2", without_zeros, "no zeros stand around"),
    ("03.2", lambda w: torch.fft.fft2(w).abs()[:, 1:, 1:].sum().item(), "The number is not right"),
    ("03.3", lambda a, b: sum(a[i] * b[i].sum() for i in range(len(a))), "nothing is moved"),
    ("04.1", lambda c, i, k: torch.cosine_similarity(c, c[i]).topk(k).indices.tolist(), "its own"),
    ("04.1", lambda c, i, k: (c - c[i]).norm(dim=1).argsort()[:k].tolist(), "is among them"),
    ("04.1", lambda codes, number, k: [0] * k, "every number is zero"),
    ("04.1", lambda c, i, k: (c @ c[i]).argsort(descending=True)[:k].tolist(), "the plain product"),
    ("04.2", near_to_itself, "near to itself"),
    ("05.1", hidden_in_place, "an in-place step"),
    ("05.1", lambda x, box, c: hidden_in_place(x.clone(), box, [c[0]] * 3), "number of its own"),
    ("05.2", lambda n, w, s: [(i, min(i + w, n)) for i in range(0, n, s)], "to the end"),
    ("05.2", lambda n, w, s: list(range(0, n - w + s, s)), "a whole number; expected: a tuple"),
    ("06.1", lambda a, b: float((a * b).sum() / (a.norm() * b.norm())), "the cosine"),
    ("06.2", lambda maps, weights, unit: weights[:, unit] * maps[unit].sum(), "sum over the map"),
    ("07.1", lambda f, above, rule: above * (f > 0), "as plain backprop"),
    ("07.2", lambda gradient, image, start, steps: gradient(image) * (image - start), "alone"),
    (
        "08.1",
        lambda x, gradient, rate, decay: x.add_(rate * (gradient - 2 * decay * x)),
        "an in-place step",
    ),
    ("08.2", lambda image, share: image * (image.norm(dim=0) >= share), "taken for a size"),
    ("09.1", lambda code, wanted: (code - wanted).norm() / wanted.norm(), "the root"),
    ("09.2", lambda x: ((x.roll(-1, 2) - x) ** 2 + (x.roll(-1, 1) - x) ** 2).mean(), "go around"),
    ("10.1", lambda x, g, rate: x.add_(rate * g / g.abs().mean()).clamp_(0, 1), "an in-place step"),
    ("10.2", lambda base, small, dreamed, resize: resize(dreamed, base.shape[2:]), "fine detail"),
    ("11.1", lambda x: torch.einsum("ihw,jhv->ij", x, x) / x.numel(), "at the same position"),
    ("11.2", averaged, "take the sum above and below"),
    ("12.1", lambda loss, image, eps: image, "The numbers are not right."),
    ("12.1", lambda loss, image, eps: image + eps * image.sign(), "the sign"),
    (
        "12.2",
        lambda new, image, eps: (image + new.clamp(-eps, eps)).clamp(0, 1),
        "cut its difference",
    ),
    ("13.1", lambda x, w, step: x + step * x.sign(), "the sign of x decides"),
    ("13.2", lambda x, to, away, k: x + k * (to - away) / (to - away).abs().max(), "inside [0, 1]"),
    (
        "90.1",
        lambda x, n: torch.stack([x[i : i + n].mean() for i in range(len(x) - n)]),
        "one too many or too few",
    ),
    ("90.1", lambda x, n: [float(x[i : i + n].mean()) for i in range(len(x) - n + 1)], "a tensor"),
    ("90.1", lambda row, n: row.unfold(0, n, 1).mean(dim=1).clamp(max=8.0), "brighter by 10"),
    ("90.2", lambda response: response.max(), "expected: a tuple of 2"),
]
