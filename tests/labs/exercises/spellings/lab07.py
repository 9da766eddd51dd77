"""Right answers to lab 07's exercises, in other spellings than the solutions'."""

import numpy as np
import torch


def by_numbers(f, above, rule):
    below = above.clone()
    flat_f, flat = f.flatten(), below.view(-1)
    for place, (into, arrives) in enumerate(zip(flat_f.tolist(), flat.tolist(), strict=True)):
        opened, positive = into > 0, arrives > 0
        passes = {"backprop": opened, "deconvnet": positive, "guided": opened and positive}
        if not passes[rule]:
            flat[place] = 0.0
    return below


def by_where(f, above, rule):
    zero = torch.zeros_like(above)
    if rule != "deconvnet":
        above = torch.where(f > 0, above, zero)
    return above if rule == "backprop" else torch.where(above > 0, above, zero)


def by_relus(forward, gradient, name):
    opened = (forward > 0).float()
    if name == "backprop":
        return gradient * opened
    return gradient.relu() if name == "deconvnet" else gradient.relu() * opened


def by_a_mask(f, above, rule):
    below = above.clone()
    if rule in ("backprop", "guided"):
        below[f <= 0] = 0
    if rule in ("deconvnet", "guided"):
        below[above <= 0] = 0
    return below


def rules_in_numpy(f, above, rule):
    opened, positive = f.numpy() > 0, above.numpy() > 0
    kept = {"backprop": opened, "deconvnet": positive, "guided": opened & positive}[rule]
    return torch.from_numpy(np.where(kept, above.numpy(), np.float32(0)))


def listed(gradient, image, baseline, steps):
    way = image - baseline
    found = [gradient(baseline + way * (part + 0.5) / steps) for part in range(steps)]
    return torch.stack(found).mean(dim=0) * way


def by_places(gradient_of, picture, start, count):
    half = 1 / (2 * count)
    places = torch.linspace(half, 1 - half, count)
    return (
        sum(gradient_of(start.lerp(picture, float(a))) for a in places) * (picture - start) / count
    )


def blended(gradient, image, baseline, steps):
    total = 0
    for k in range(steps):
        a = (2 * k + 1) / (2 * steps)
        total += gradient((1 - a) * baseline + a * image) * (image - baseline) / steps
    return total


def walked(gradient, image, baseline, steps):
    step = (image - baseline) / steps
    place, total = baseline + step / 2, torch.zeros_like(image)
    for _ in range(steps):
        total = total + gradient(place) * step
        place = place + step
    return total


def in_numpy(gradient, image, baseline, steps):
    places = (np.arange(steps) + 0.5) / steps
    found = [gradient(baseline + float(a) * (image - baseline)).numpy() for a in places]
    return torch.from_numpy(np.mean(found, axis=0)) * (image - baseline)


SPELLINGS = {
    "07.1": [by_numbers, by_where, by_relus, by_a_mask, rules_in_numpy],
    "07.2": [listed, by_places, blended, walked, in_numpy],
}
