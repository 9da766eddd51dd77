"""The table of all public methods: how to call each, for the laws that all of them keep.

A new method needs one line here; `test_laws.py` fails until it has one.
"""

import contextlib
import functools
import importlib
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import pytest
import torch
import torchvision
import toys
from torch import nn

import labsupport.methods
from labsupport.core import images as images_
from labsupport.core import network as networks
from labsupport.core.network import Network
from labsupport.methods import activations as ac
from labsupport.methods import anatomy, tasks
from labsupport.methods import backprop as b
from labsupport.methods import codes as c
from labsupport.methods import dream as dr
from labsupport.methods import evolution as ev
from labsupport.methods import faithfulness as fa
from labsupport.methods import fooling as f
from labsupport.methods import inversion as inv
from labsupport.methods import linear as li
from labsupport.methods import occlusion as o
from labsupport.methods import optimize as a
from labsupport.methods import patches as p
from labsupport.methods import saliency as s
from labsupport.methods import style as st
from labsupport.methods import twins as tw
from labsupport.methods import weights as w

Results = Mapping[str, torch.Tensor]
Way = Callable[[Network, torch.Tensor, object], object]


@dataclass(frozen=True)
class Case:
    """How to call a method, or several whose names stand beside each other: `way(network, image,
    target)` gives their results by name, or the only one.

    `wrong` is the target that must be refused (None: the method takes no target). `batches`: the
    method takes (N, 3, H, W) and gives (N, ...). `passes_gradients`: made to be a step of a
    student's own optimization.
    """

    name: str
    way: Way
    wrong: object = None
    batches: bool = False
    passes_gradients: bool = False

    def call(self, network: Network, image: torch.Tensor, target: object) -> Results:
        """What the method gives, by name."""
        return numbers_of(self.way(network, image, target))

    @property
    def uses_network(self) -> bool:
        """Whether the call does anything with the network that it gets."""
        first, *_ = inspect.signature(self.way).parameters
        return not first.startswith("_")


def numbers_of(found: object) -> Results:
    """A result's numbers, by name."""
    return dict(_parts_of(found))


def _parts_of(found: object, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """A result's numbers: its own, those of its parts by their names, or a dataclass's tensors."""
    if isinstance(found, Mapping):
        for key, part in found.items():
            yield from _parts_of(part, f"{name} {key}")
    elif is_dataclass(found):
        tensors = {key: one for key, one in vars(found).items() if isinstance(one, torch.Tensor)}
        assert tensors, f"no tensor in {found}: name the numbers that the laws shall see"
        yield from _parts_of(tensors, name)
    else:
        yield name, torch.as_tensor(found)


NO_CLASS = "no such class"
_CHANGE = ac.Distortion(rotate=10, right=2, brightness=0.9, noise=0.02)


def _conv(network: Network) -> str:
    """The first convolution."""
    return next(layer.name for layer in network.layers if layer.kind == "conv")


def _layer(network: Network, target: object) -> str:
    """The layer that the target names, or the first convolution."""
    return target if isinstance(target, str) else _conv(network)


def _pair(image: torch.Tensor) -> torch.Tensor:
    return torch.cat([image, 1 - image])


def _mosaic(network: Network, image: torch.Tensor, _: object) -> Results:
    maps = network.activations(image, [_conv(network)])[_conv(network)]
    return {"mosaic": ac.mosaic(maps[0], shared=True).nan_to_num(-1.0)}


def _alike(network: Network, image: torch.Tensor, _: object) -> Results:
    similarity = ac.similarity(network, image, _CHANGE, [_conv(network)])
    return {name: getattr(similarity, name)[0] for name in ("maps", "aligned", "pooled")}


def _unit_views(network: Network, image: torch.Tensor, unit: object) -> Results:
    recipe = a.Recipe("law", "noise", a.Pixels(), (), (), a.Momentum(0.01), 1)
    wanted, pictures = (_conv(network), unit), _pair(image)
    views = ac.unit_views(network, image, wanted, pictures, patches=2, recipe=recipe)
    results = {rule: gradient.values for rule, gradient in views.gradients.items()}
    results |= {"values": views.patches.values[:, 0], "boxes": views.patches.boxes[:, 0]}
    results |= {} if views.votes is None else {"votes": views.votes.values}  # of no classes
    return results | {"map": views.map, "image": views.picture.image}


def _map(network: Network, image: torch.Tensor, target: object) -> Results:
    views = ("score", "probability", "best_class", "activity")
    result = o.occlusion_map(network, image, target, window=24, stride=20, views=views)
    *_, last = o.occlusion_map.frames(network, image, target, window=(30, 20), stride=16)
    return {**result.values, "last frame": last.values["score"]}


def _hidden(network: Network, image: torch.Tensor, _: object) -> object:
    layer = _conv(network)
    boxes = [(0, 0, 9, 9), (8, 8, 30, 30), (20, 10, 40, 40)]
    changes = torch.stack([o.sign_changes(network, image, box, layer) for box in boxes])
    return {
        "fills": {fill: o.fill_image(network, image, fill) for fill in o.FILLS},
        "signs": changes,
        "distance": o.correspondence(changes),
        "views": torch.tensor(
            [o.VIEWS.index(view) for view in o.views_of(network)], device=image.device
        ),
    }


def _top(network: Network, image: torch.Tensor, unit: object) -> Results:
    patches = p.top_patches(network, _conv(network), image, k=3, channels=[unit, 1, 2])
    return {"values": patches.values, "boxes": patches.boxes.sum(2)}


def _tops(network: Network, image: torch.Tensor, unit: object) -> Results:
    both = {_conv(network): [unit, 1], network.layers[3].name: [0, 1]}
    patches = p.top_patches_by_layer(network, both, image, k=2)  # type: ignore[arg-type]
    return {name: one.values.nan_to_num() for name, one in patches.items()}


def _in_parts(network: Network, image: torch.Tensor, unit: object) -> Results:
    pair, layer = _pair(image), _conv(network)
    patches = p.scan(network, layer, pair, p.Cluster(part=1), k=3, channels=[unit, 1, 2])
    return {"values": patches.values}


def _patches(network: Network, image: torch.Tensor, _: object) -> object:
    layer = _conv(network)
    one, other = (p.top_patches(network, layer, part, k=3) for part in (image, image.flip(3)))
    directions = p.random_directions(network.layer(layer).shape[0], 3)
    return {
        "merged": p.merge(one, other.shifted(1)).values,
        "along": p.top_patches(network, layer, image, channels=directions, k=2).values,
        "scaled": p.several_scales(image, (40, 64))[1].detach(),
    }


def _labels(network: Network, image: torch.Tensor, _: object) -> object:
    patches = p.top_patches(network, _conv(network), _pair(image), k=3, channels=[0, 1, 2])
    return {
        "share": p.precision_at_k(patches, ["cat", "dog"], "cat"),
        "units": p.units_for(patches, ["cat", "dog"], "cat"),
    }


def _about_filters(network: Network, *_: object) -> object:
    some = w.filters(network).weights[:8]
    return {
        "filters": w.filters(network),
        "measures": w.measure(some),
        "waves": w.gabor_fit(some),
        "order": {key: w.argsort(some, key) for key in w.KEYS},
        "dead": len(w.dead(some, share=0.9)),
        "duplicates": len(w.duplicates(some, least=0.1)),
    }


def _effective(network: Network, *_: object) -> Results:
    convolutions = [one.name for one in network.layers if one.kind == "conv"]
    layer = convolutions[network.name != "plain"]  # there a gate stands before the second one
    return {"weights": w.effective_filter(network, layer, 2).weights}


def _visualized(network: Network, images: torch.Tensor, target: object) -> Results:
    penalties, optimizer = (a.TotalVariation(0.1), a.Decay(0.01)), a.Momentum(0.01)
    recipe = a.Recipe("law", "noise", a.Pixels(), (a.Jitter(3),), penalties, optimizer, 3)
    pixels = a.visualize(network, target, recipe=recipe, start=images)
    clear = replace(a.CLEAR, optimizer=optimizer)  # Adam would follow rounding where it is all
    spectrum = a.visualize(network, target, recipe=clear, start=images, steps=2)
    return {"image": pixels.image, "score": pixels.score, "clear": spectrum.image}


def _code_of(network: Network, images: torch.Tensor, target: object) -> inv.Code:
    return inv.encode(network, images, _layer(network, target))


def _parts_of_code(network: Network, image: torch.Tensor, target: object) -> Results:
    part = inv.some_channels(inv.neighbourhood(_code_of(network, image, target), (1, 1)), [0, 2])
    assert inv.setting_for(network, part).steps
    return {"distance": inv.code_distance(network, image.flip(3), part), "mask": part.mask}


def _pooling(network: Network, *_: object) -> Results:
    name = inv.last_pooling(family("SqueezeNet") if network.name == "plain" else network)
    return {"name": [ord(letter) for letter in name]}


def _code_sweep(network: Network, image: torch.Tensor, target: object) -> Results:
    found = inv.weight_sweep(network, _code_of(network, image, target), (0.0, 1.0), steps=1)
    return {f"{weight}": frame.image for weight, frame in found}


def _alike_codes(network: Network, image: torch.Tensor, target: object) -> Results:
    pair = torch.cat([image.flip(3), image.flip(2)]).detach()
    return vars(inv.compare(network, pair, image, _code_of(network, image, target)))


def _large_enough(images: torch.Tensor) -> list[torch.Tensor]:
    """For AlexNet, which judges: the images and their mirror images."""
    large = images_.resize(images.detach(), 64)
    return [large.flip(3), large]


def _ridge(network: Network, images: torch.Tensor, target: object) -> torch.Tensor:
    others = toys.image(images.shape[2], images.shape[3], count=4)
    return inv.ridge_start(network, _code_of(network, images, target), others=others)


def _code_errors(network: Network, image: torch.Tensor, target: object) -> Results:
    [row] = inv.errors_by_layer(network, _pair(image), [_layer(network, target)], steps=1)
    return {"error": row.normalised, "distance": row.distance, "pixels": row.pixels}


def _stylized(network: Network, image: torch.Tensor, _: object) -> Results:
    layer = _conv(network)
    both = {"content_layers": {layer: 1.0}, "style_layers": {layer: 1.0}}
    recipe = st.StyleRecipe(**both, pooling="average", steps=2)
    last = st.stylize(network, image, image.flip(3) * 0.9, recipe=recipe, start="noise")
    return {"image": last.image, "loss": last.loss}


def _style_recipe(network: Network, image: torch.Tensor, _: object) -> Results:
    style = {_conv(network): 1.0}
    recipe = replace(st.recipe_for(network), style_layers=style, steps=1)
    return {"image": st.stylize(network, image, 1 - image, recipe=recipe).image}


def _style_halves(network: Network, image: torch.Tensor, _: object) -> Results:
    layer = _conv(network)
    content = st.reconstruct_content(network, image, layer, steps=2)
    style = st.reconstruct_style(network, image, [layer], steps=2)
    return {"content": content.image, "style": style.image}


def _style_distances(network: Network, images: torch.Tensor, _: object) -> Results:
    layer, goal = _conv(network), torch.full_like(images[:1], 0.3)
    losses = {"style": st.style_losses, "content": st.content_losses}
    return {name: loss(network, images, goal, [layer])[layer] for name, loss in losses.items()}


def _style_colours(_: Network, image: torch.Tensor, __: object) -> Results:
    matched = st.match_colours(image, 1 - image**2)
    return {"grey": st.luminance(image), "matched": matched, "kept": st.recolour(matched, image)}


def _averaged(network: Network, image: torch.Tensor, _: object) -> Results:
    averaging = st.with_average_pooling(network)
    with torch.no_grad():
        return {"scores": averaging(image).cpu()}


def _style_memory(network: Network, image: torch.Tensor, _: object) -> Results:
    layers, size = [_conv(network)], (image.shape[2], image.shape[3])
    needed = st.memory_needed(network, layers, size)
    fits = st.largest_size(network, layers, (2 * size[0], 2 * size[1]), needed)
    return {"bytes": needed, "size": fits}


_DREAM = dr.DreamRecipe("law", iterations=2, octaves=2, scale=1.01, jitter=2)


def _dreamed(network: Network, images: torch.Tensor, target: object) -> Results:
    layer, vivid = _layer(network, target), dr.LaplacianNormalized()
    tiled = dr.DreamRecipe("law", 1, 1, jitter=2, optimizer=vivid, tile=32)
    whole, parts = (dr.dream(network, images, layer, recipe=one) for one in (_DREAM, tiled))
    return {"image": whole.image, "value": whole.value, "tiled": parts.image}


def _octaves(_: Network, images: torch.Tensor, __: object) -> Results:
    size = dr.octave_sizes((images.shape[2], images.shape[3]), 2)[0]
    image = images.detach()
    return {"small": dr.resized(image, size), "middle": dr.zoom(image), "size": size}


def _films(network: Network, image: torch.Tensor, target: object) -> Results:
    layer = _layer(network, target)
    zoomed = dr.zoom_film(network, image, layer, count=2, recipe=_DREAM)
    dreamed = dr.dream_film(network, _pair(image), layer, recipe=_DREAM)
    return {"zoomed": zoomed.images[-1], "dreamed": dreamed.images[-1]}


def _deconvnet(network: Network, images: torch.Tensor, target: object) -> object:
    """To the scores; the plain network's gate has no transpose, so there only to its first ReLU."""
    unit = (next(layer.name for layer in network.layers if layer.kind == "relu"), 0)
    return b.deconvnet(network, images, unit if network.name == "plain" else target)


def _smooth(network: Network, images: torch.Tensor, target: object) -> Results:
    *_, last = b.smooth_gradient.frames(network, images, target, samples=2, rule="guided")
    plain = b.smooth_gradient(network, images, target, samples=2)
    return {"values": plain.values, "guided": last.gradient.values}


def _randomized(network: Network, images: torch.Tensor, _: object) -> Results:
    changed = b.randomized(network, b.weighted_layers(network)[1])
    with torch.no_grad():
        return {"scores": changed(images.detach()).cpu()}


def _cascade(network: Network, images: torch.Tensor, target: object) -> Results:
    steps = b.cascading_randomization.frames(network, images[:1], target)
    _, second = itertools.islice(steps, 2)
    return {rule: one.values for rule, one in second.gradients.items()}


def _anatomy(network: Network, image: torch.Tensor, _: object) -> Results:
    found = anatomy.anatomy(network, (image.shape[2], image.shape[3]))
    rows = [(row.parameters, row.multiply_adds, row.memory) for row in found.layers]
    return {"rows": rows}


def _networks_in_numbers(*_: object) -> object:
    drawn = anatomy.design(anatomy.Design(image=32, depth=3, classes=5))
    rows = [len(row) for row in anatomy.configuration(family("VGG-11"))]
    table = anatomy.configuration_table({"A": family("VGG-11"), "alone": family("AlexNet")})
    return {
        "rows": rows,
        "letters": [ord(letter) for letter in table],
        "shapes": [len(layer.shape) for layer in drawn.layers],
        "published": [one.top1 for one in anatomy.published()],
    }


def _integrated(network: Network, images: torch.Tensor, target: object) -> object:
    return b.integrated_gradients(network, images, target, steps=2, baseline="blur")


def _averaging(network: Network) -> Network:
    """AlexNet and VGG have no class map: their heads are fully connected."""
    return family("SqueezeNet") if network.name in ("AlexNet", "VGG-11", "plain") else network


def _detections(network: Network, image: torch.Tensor, _: object) -> Results:
    found = tasks.detections(_averaging(network), image, window=1, threshold=0.01)
    return {"boxes": [one.box for one in found]}


def _tables(_network: Network, image: torch.Tensor, _: object) -> object:
    """Of fourteen codes, which are parts of the image itself."""
    parts = [image[:1].roll((number, 2 * number), (2, 3)) for number in range(14)]
    rows = c.pixel_codes(torch.cat(parts), side=6)
    flat, near = rows[:, :2], c.affinities(rows, perplexity=4)
    ways = {"pca": {"method": "pca"}, "tsne": {}, "random": {"seed": 1}}
    cost, slope = c.divergence(near, flat)
    return {
        "affinities": near,
        "cost": cost,
        "slope": slope,
        "neighbours": c.neighbours(rows, 3).distances,
        "agreement": c.label_agreement(rows, "ab" * 7),
        "trust": [c.trustworthiness(rows, flat, k=3, sample=sample) for sample in (None, 5)],
        "maps": {
            name: c.embed(rows, perplexity=4, steps=30, **way).points for name, way in ways.items()
        },
        "places": c.place_in_map(rows[2:], flat[2:], rows[:2]),
        "grid": c.grid(flat).cells,
        "shape": c.grid_shape(283),
        "borders": c.u_matrix(c.grid(flat, shape=(2, 7)), rows),
    }


def _saliency(network: Network, images: torch.Tensor, target: object) -> Results:
    settings = {"samples": 2, "noise": 0.1}
    return {
        "max": s.saliency_map(network, images, target),
        "smooth": s.saliency_map(network, images, target, reduce="signed", **settings),
    }


def _pixel_curves(network: Network, image: torch.Tensor, target: object) -> Results:
    size = (image.shape[2], image.shape[3])
    asked = {"way": "insertion", "view": "score", "steps": 3}
    curves = {
        name: fa.pixel_curve(network, image, target, map_, **asked)
        for name, map_ in fa.controls(size).items()
    }
    black = o.fill_image(network, image, "black")
    changed = fa.exchanged(image, black, image[0, 0], 0.5)
    return {**{name: one.values for name, one in curves.items()}, "changed": changed}


def _segment(_: Network, image: torch.Tensor, __: object) -> Results:
    cut = s.segment(image, image[0, 0])
    return {"mask": cut.mask, "seeds": cut.seeds, "box": cut.box}


def _parts(_: Network, image: torch.Tensor, __: object) -> Results:
    mask = s.largest_component(image[0, 0] > 0.5)
    numbers = [s.box_iou(s.box_of(mask), (8, 8, 40, 40)), s.mask_iou(mask, ~mask)]
    return {"numbers": numbers}


def _made(*_: object) -> object:
    composed = s.compose(images_.cutouts()["zebra"], images_.photos()["taj_mahal"], size=40)
    some = s.scenes(2, size=40)
    rights = [one.mask for one in some]
    error = s.localization(some, rights).error
    ways = s.compare_methods(some, [right.float() for right in rights], quantiles=(0.8,))
    return {
        "images": torch.cat([one.image for one in some]),
        "error": error,
        "ways": {way: [one.error, one.iou] for way, one in ways.items()},
        "composed": composed.image,
    }


def _linear(network: Network) -> li.LinearClassifier:
    """A linear classifier of the network's images: ten classes, random weights."""
    weights = toys.image(*network.input_size, count=10).to(network.device) - 0.5
    return li.LinearClassifier(weights, weights.new_zeros(10), tuple("abcdefghij"))


def _strengths(network: Network, image: torch.Tensor, _: object) -> Results:
    found = li.minimal_strength(_linear(network), image)
    return {"measured": found.measured.nan_to_num(posinf=9), "theory": found.theory}


def _linear_numbers(network: Network, image: torch.Tensor, _: object) -> object:
    x, w = image[0, :, 4], image[0, :, 5] - 0.5
    points, classifier = image[0].flatten(0, 1), _linear(network)
    labels = (points[:, 0] > points[:, 1]).long()
    found = li.classifier_of(classifier.network())
    matrix = li.strength_matrix(classifier, image, found.scores(image).argmax(1))
    return {
        "predicted": vars(li.predict(x, w, 0.5)),
        "steps": [li.minimal_step(w, 2.0), li.step_to_boundary(x, w, 0.5)],
        "fitted": li.fit_logistic(points, labels, weight_decay=0.1).weights,
        "read off": {"weights": found.weights, "bias": found.bias},
        "scores": found.scores(image),
        "matrix": matrix.nan_to_num(-1, posinf=9),
    }


def _learned(_: Network, image: torch.Tensor, __: object) -> Results:
    examples = images_.LabelledImages(
        _pair(image), torch.tensor([0] * len(image) + [1] * len(image), device="cpu"), ("a", "b")
    )
    last = li.train(examples, epochs=3)
    return {"weights": last.classifier.weights, "bias": last.classifier.bias}


def _attacked(found: f.AttackResult) -> Results:
    """The images by their means: where a slope is nearly zero, its sign hangs on rounding."""
    means = found.images.flatten(1).double().mean(1)
    return {"mean": means, "before": found.before, "largest": found.largest, "label": found.label}


def _pgd(network: Network, images: torch.Tensor, target: object) -> Results:
    return _attacked(f.pgd(network, images, target, eps=2 / 255, steps=2, random_start=True))


def _concatenated(network: Network, images: torch.Tensor, _: object) -> Results:
    found = f.fgsm(network, images, eps=1 / 255)
    return _attacked(f.concatenate([found, found]))


def _minimal(network: Network, images: torch.Tensor, target: object) -> Results:
    found = f.minimal_perturbation(network, images[:1], target, rounds=1, steps=1)
    return {"length": found.length, "after": found.after}


def _defence(network: Network, images: torch.Tensor, target: object) -> object:
    found = f.try_defence(network, f.fgsm(network, images, target, eps=1 / 255), "blur")
    return {"clean": found.clean, "right": [found.clean_right, found.attacked_right]}


def _robustness(network: Network, images: torch.Tensor, _: object) -> object:
    return vars(f.robustness(network, images, [0] * len(images), eps=0.01))


def _error(network: Network, images: torch.Tensor, target: object) -> Results:
    labels = torch.zeros(len(images), dtype=torch.int64, device="cpu")
    found = f.fgsm(network, images, target, eps=1 / 255)
    shares = f.transfer({"own": found.images}, {"judge": network}, labels)
    return {"errors": [f.error_rate(network, images, labels), float(shares)]}


def _as_digits(image: torch.Tensor) -> images_.LabelledImages:
    small = torch.nn.functional.interpolate(image.detach().mean(1, keepdim=True), (28, 28))
    both = torch.cat([small, 1 - small]).expand(-1, 3, -1, -1)
    labels = torch.tensor([0] * len(image) + [1] * len(image), device="cpu")
    return images_.LabelledImages(both, labels, tuple("0123456789"))


def _trained_digits(_: Network, image: torch.Tensor, __: object) -> Results:
    examples = _as_digits(image)
    network = f.train_digits("AE400-10", examples, epochs=2)
    return {"scores": network.scores(examples.images).detach().cpu()}


def _adversarial(_: Network, image: torch.Tensor, __: object) -> object:
    examples = _as_digits(image)
    last = f.adversarial_training("ReLU 200-200-10", examples, examples, epochs=2)
    return {"errors": [[one.error, one.adversarial_error] for one in last.measured[2]]}


def _evolved(network: Network, _: torch.Tensor, target: object) -> Results:
    few = ev.Cppn(founders=2)
    last = ev.evolve(network, few, classes=[target], budget=4, batch=2)
    again = ev.evolve(network, start=last, budget=6)
    return {"confidence": last.confidence, "and on": again.confidence}


def _children(_: Network, image: torch.Tensor, __: object) -> object:
    won, child = ev.compete(image[0, 0, 0].detach(), image[0, 0, 1:].detach())
    mutated = ev.polynomial_mutation(image, random=torch.Generator().manual_seed(0))
    return {"won": won, "child": child, "mutated": mutated}


def _twin(network: Network, image: torch.Tensor, target: object) -> Results:
    layer = _layer(network, target)
    found = tw.twin(network, image, 1 - image, layer, steps=2)
    hog = tw.twin(network, image, 1 - image, inv.Hog(cell=8), steps=2)
    return {"image": found.image, "pixels": [found.from_other, hog.from_other]}


def _pair_distances(network: Network, image: torch.Tensor, target: object) -> Results:
    size, layer = (image.shape[2], image.shape[3]), _layer(network, target)
    found = tw.pair_distances(network, layer, size)
    measured = tw.measure(network, image, image, image.flip(3), layer, pairs=found)
    return {"pairs": [found.code, found.pixels, measured.code]}


Asked = functools.partial(Case, wrong=NO_CLASS)  # a class is asked about
Many = functools.partial(Case, batches=True)
ManyAsked = functools.partial(Case, wrong=NO_CLASS, batches=True)

CALLS = [
    Case("anatomy.anatomy", _anatomy),
    Case(
        "anatomy.configuration anatomy.configuration_table anatomy.design anatomy.published",
        _networks_in_numbers,
    ),
    ManyAsked(
        "tasks.class_map",
        lambda net, image, target: tasks.class_map(_averaging(net), image, target),
    ),
    Many("tasks.dense_scores", lambda net, image, _: tasks.dense_scores(_averaging(net), image)),
    Case("tasks.detections", _detections),
    Case("tasks.class_box", lambda network, image, _: tasks.class_box(image[0, 0], (50, 70))),
    Case("tasks.mask_of", lambda network, image, _: tasks.mask_of(image[0, 0], (50, 70)).detach()),
    Case("activations.layout", lambda *_: [ac.layout(7, 3, 4).box(n) for n in range(7)]),
    Case("activations.mosaic", _mosaic),
    Many("activations.distort", lambda _, image, __: ac.distort(image, _CHANGE)),
    Many("activations.correlation", lambda _, image, __: ac.correlation(image, image.flip(3))),
    Many("activations.similarity", _alike),
    Case(
        "activations.unit_changes",
        lambda net, image, _: ac.unit_changes(net, image, 1 - image, _conv(net)),
    ),
    Case(
        "activations.class_votes",
        lambda net, image, unit: ac.class_votes(net, image, (_conv(net), unit)),
        wrong=10_000,
        batches=True,
    ),
    Case("activations.unit_views", _unit_views, wrong=10_000),
    ManyAsked(
        "backprop.gradient",
        lambda net, images, target: b.gradient(net, images, target, rule="guided"),
    ),
    ManyAsked("backprop.gradients", lambda net, images, target: b.gradients(net, images, target)),
    ManyAsked("backprop.deconvnet", _deconvnet),
    ManyAsked("backprop.smooth_gradient", _smooth),
    ManyAsked("backprop.integrated_gradients", _integrated),
    ManyAsked("backprop.grad_cam", lambda net, images, target: b.grad_cam(net, images, target)),
    ManyAsked(
        "backprop.magnitude",
        lambda net, images, target: b.magnitude(b.gradient(net, images, target)),
    ),
    Case("backprop.weighted_layers", lambda network, *_: [len(b.weighted_layers(network))]),
    Case("backprop.randomized", _randomized),
    Asked("backprop.cascading_randomization", _cascade),
    ManyAsked("optimize.visualize", _visualized),
    Case("style.stylize", _stylized),
    Case("style.reconstruct_content style.reconstruct_style", _style_halves),
    Case("style.recipe_for", _style_recipe),
    Many("style.content_losses style.style_losses", _style_distances),
    Case(
        "style.luminance style.recolour style.match_colours", _style_colours, passes_gradients=True
    ),
    Case("style.with_average_pooling", _averaged),
    Case("style.memory_needed style.largest_size", _style_memory),
    ManyAsked("dream.dream", _dreamed),
    Case("dream.octave_sizes dream.resized dream.zoom", _octaves),
    Asked(
        "dream.balanced_weights",
        lambda net, image, target: dr.balanced_weights(net, image, [_layer(net, target)]),
    ),
    Asked(
        "dream.feedback",
        lambda net, image, target: dr.feedback(
            net, image, _layer(net, target), recipe=_DREAM, steps=1
        ),
    ),
    Asked("dream.zoom_film dream.dream_film", _films),
    Asked("occlusion.occlusion_map", _map),
    Case(
        "occlusion.fill_image occlusion.sign_changes occlusion.correspondence occlusion.views_of",
        _hidden,
    ),
    Case(
        "occlusion.occlude",
        lambda net, image, _: o.occlude(image, (3, 5, 20, 31), o.fill_image(net, image)),
        passes_gradients=True,
    ),
    Case(
        "weights.filters weights.measure weights.argsort weights.dead "
        "weights.duplicates weights.gabor_fit",
        _about_filters,
    ),
    Case("weights.effective_filter", _effective),
    Case("patches.top_patches", _top, wrong=10_000),
    Case("patches.top_patches_by_layer", _tops, wrong=10_000),
    Case("patches.merge patches.random_directions patches.several_scales", _patches),
    Case(
        "patches.unit_activations",
        lambda net, image, unit: p.unit_activations(net, _conv(net), image, unit).values,
        wrong=10_000,
    ),
    Case("patches.precision_at_k patches.units_for", _labels),
    Case("patches.scan", _in_parts, wrong=10_000),
    Many("codes.codes", lambda network, image, _: c.codes(network, image)),
    Many(
        "codes.codes_by_layer",
        lambda net, image, _: c.codes_by_layer(net, image, [_conv(net), c.code_layer(net)]),
    ),
    Case("codes.code_layer", lambda network, *_: network.layer(c.code_layer(network)).shape),
    Many("codes.pixel_codes", lambda _, image, __: c.pixel_codes(image, side=8)),
    Case("codes.fitted", lambda network, image, _: c.fitted(image[:1], (24, 30))),
    Case(
        "codes.neighbours codes.label_agreement codes.trustworthiness codes.embed "
        "codes.affinities codes.divergence codes.place_in_map codes.grid codes.grid_shape "
        "codes.u_matrix",
        _tables,
    ),
    ManyAsked(
        "fooling.fgsm",
        lambda net, images, target: _attacked(f.fgsm(net, images, target, eps=2 / 255)),
    ),
    ManyAsked("fooling.pgd", _pgd),
    Asked(
        "fooling.sign_line", lambda net, image, target: f.sign_line(net, image, target, points=5)
    ),
    Asked("fooling.minimal_perturbation", _minimal),
    Asked("fooling.error_rate fooling.transfer", _error),
    Many("fooling.noisy", lambda _, image, __: f.noisy(image, 0.1)),
    Case("fooling.robustness", _robustness),
    Case("fooling.train_digits", _trained_digits),
    Case("fooling.adversarial_training", _adversarial),
    Case("fooling.concatenate", _concatenated),
    Asked(
        "fooling.quantize",
        lambda net, images, target: _attacked(
            f.quantize(net, f.fgsm(net, images, target, eps=2 / 255))
        ),
    ),
    Many(
        "fooling.defend", lambda _, images, __: {way: f.defend(images, way) for way in f.DEFENCES}
    ),
    Asked("fooling.try_defence", _defence),
    ManyAsked("inversion.encode", lambda net, images, target: _code_of(net, images, target).values),
    ManyAsked(
        "inversion.invert",
        lambda net, images, target: inv.invert(net, _code_of(net, images, target), tv=0.1, steps=2),
    ),
    Asked(
        "inversion.neighbourhood inversion.some_channels "
        "inversion.setting_for inversion.code_distance",
        _parts_of_code,
    ),
    Asked("inversion.pixel_distance inversion.compare", _alike_codes),
    Many(
        "inversion.perceptual_distance",
        lambda _, images, __: inv.perceptual_distance(*_large_enough(images)),
    ),
    Case("inversion.perceptual_weights", lambda *_: inv.perceptual_weights("vgg16")),
    ManyAsked("inversion.ridge_start", _ridge),
    Case("inversion.last_pooling", _pooling),
    Asked("inversion.weight_sweep", _code_sweep),
    Asked(
        "inversion.mean_pairwise inversion.normalised_error inversion.errors_by_layer", _code_errors
    ),
    Many(
        "inversion.recognition",
        lambda net, images, _: inv.recognition(net, images.flip(3), images).probability,
    ),
    Case(
        "linear.predict linear.minimal_step linear.step_to_boundary "
        "linear.fit_logistic linear.classifier_of linear.strength_matrix",
        _linear_numbers,
    ),
    Case("linear.train", _learned),
    ManyAsked(
        "linear.mix", lambda net, image, target: li.mix(_linear(net), image, target, strength=0.05)
    ),
    Many("linear.minimal_strength", _strengths),
    Asked("evolution.evolve", _evolved),
    Case("evolution.compete evolution.polynomial_mutation", _children),
    Asked("twins.twin", _twin),
    Asked("twins.measure twins.pair_distances", _pair_distances),
    ManyAsked("saliency.saliency_map", _saliency),
    Asked(
        "faithfulness.pixel_curve faithfulness.exchanged faithfulness.controls",
        _pixel_curves,
    ),
    Case("saliency.segment", _segment),
    Case("saliency.threshold", lambda _, image, __: s.threshold(image, image[0, 0]).mask),
    Case("saliency.largest_component saliency.box_of saliency.box_iou saliency.mask_iou", _parts),
    Many("optimize.gram", lambda _, image, __: a.gram(image), passes_gradients=True),
    Case("saliency.compose saliency.scenes saliency.localization saliency.compare_methods", _made),
]

CASES = [replace(call, name=name) for call in CALLS for name in call.name.split()]


def public_methods() -> set[str]:
    """Every function that a module or a package's face in labsupport.methods offers."""
    names = set()
    for module in pkgutil.iter_modules(labsupport.methods.__path__):
        loaded = importlib.import_module(f"labsupport.methods.{module.name}")
        for name, value in vars(loaded).items():
            own = str(getattr(value, "__module__", None)).startswith(loaded.__name__)
            if own and inspect.isfunction(inspect.unwrap(value)) and not name.startswith("_"):
                names.add(f"{module.name}.{name}")
    return names


# What a method is given in a call of the table, and what it gives


class Recorder:
    """Stands in for a method and keeps what it is given, and what it gives; of frames, the last."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        self.calls: list[inspect.BoundArguments] = []
        self.results: list[Any] = []

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._keep(self.method, *given, **named)

    def frames(self, *given: Any, **named: Any) -> Any:
        return self._keep(self.method.frames, *given, **named)

    def _keep(self, way: Callable[..., Any], /, *given: Any, **named: Any) -> Any:
        self.calls.append(inspect.signature(self.method).bind(*given, **named))
        result = way(*given, **named)
        if isinstance(result, Iterator):
            return self._until_the_last(result)
        self.results.append(result)
        return result

    def _until_the_last(self, frames: Iterator[Any]) -> Iterator[Any]:
        last: list[Any] = []
        try:
            for frame in frames:
                last = [frame]
                yield frame
        finally:
            self.results += last
            if hasattr(frames, "close"):
                frames.close()


@contextlib.contextmanager
def recorded(case: Case) -> Iterator[Recorder]:
    """A recorder wherever the methods know the case's own by name."""
    home, function = case.name.split(".")
    recorder = Recorder(getattr(importlib.import_module(f"labsupport.methods.{home}"), function))
    with pytest.MonkeyPatch.context() as patch:
        for module in [one for name, one in sys.modules.items() if "labsupport.methods" in name]:
            for own in [own for own, value in vars(module).items() if value is recorder.method]:
                patch.setattr(module, own, recorder)
        yield recorder


# The network families, small images, ten classes

FAMILIES: dict[str, tuple[str, tuple[int, int]]] = {
    "AlexNet": ("alexnet", (72, 64)),
    "VGG-11": ("vgg11", (64, 48)),
    "GoogLeNet": ("googlenet", (64, 72)),
    "ResNet-18": ("resnet18", (64, 72)),
    "DenseNet-121": ("densenet121", (64, 48)),
    "SqueezeNet": ("squeezenet1_1", (72, 64)),
}


@functools.cache
def family(title: str, device: str = "cpu") -> Network:
    """One network of each family: random weights, statistics shaken, ten classes."""
    name, size = FAMILIES[title]
    settings = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}

    def build() -> nn.Module:
        return torchvision.models.get_model(name, weights=None, num_classes=10, **settings)

    module = toys.narrowed(toys.shake(toys.seeded(build)))
    return networks.wrap(module, input_size=size, name=title, device=device)


def network_for(title: str, device: str = "cpu") -> Network:
    """The network of a family, or the plain one."""
    return plain(device) if title == "plain" else family(title, device)


def image_for(title: str) -> torch.Tensor:
    """An image that is not square."""
    return toys.image(*network_for(title).input_size)


@functools.cache
def plain(device: str = "cpu") -> Network:
    """A network that methods cannot follow incrementally."""
    module = toys.seeded(lambda: toys.Squeezed(10))
    return networks.wrap(module, input_size=(48, 40), name="plain", device=device)
