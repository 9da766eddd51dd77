"""Manners of students' networks that were answered wrongly once, or crashed."""

import collections
import keyword
import threading

import pytest
import torch
import torchvision
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, CannotTrace, UnknownLayer
from labsupport.core.network import receptive_box
from labsupport.methods import (
    activations,
    backprop,
    codes,
    dream,
    fooling,
    inversion,
    occlusion,
    optimize,
    patches,
    saliency,
    style,
    twins,
)


class Small(nn.Module):
    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.c, self.f = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, classes)
        self.more = nn.Conv2d(8, 8, 3)

    def forward(self, x):
        return self.f(self.c(x).relu().mean((2, 3)))


def wrapped(module: nn.Module, **settings) -> networks.Network:
    return networks.wrap(module.eval(), mean=0, std=1, **({"input_size": 32} | settings))


def made(forward, classes: int = 5) -> nn.Module:
    """A small network whose answer goes through a function."""
    kind = type(
        "Made", (Small,), {"forward": lambda self, x: forward(self, Small.forward(self, x))}
    )
    return toys.seeded(lambda: kind(classes))


@pytest.mark.parametrize("last", [lambda _, s: F.log_softmax(s, 1), lambda _, s: s.log_softmax(-1)])
def test_a_score_is_what_goes_into_a_last_log_softmax(last):
    module, image = made(last), toys.image(32, 32)
    network = wrapped(module)
    assert "ends in a log_softmax" in " ".join(network.notes)
    assert torch.allclose(network(image), Small.forward(module, image), atol=1e-6)
    asking = image.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(Small.forward(module, asking)[0, 2], asking)
    found = backprop.gradient(network, image, 2).values
    assert float((found - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("last", [lambda _, s: s.squeeze(1), lambda _, s: s.view(-1).sigmoid()])
def test_a_number_for_each_image_on_the_way_has_a_field(last):
    network = wrapped(made(last, classes=1), categories=["no", "yes"])
    assert network.layer("c").receptive_field == (3, 3)
    assert receptive_box(network, "c", (4, 5), (32, 32)) == (4, 3, 7, 6)
    assert network.layers[-1].receptive_field is not None
    occluded = occlusion.occlusion_map(network, toys.image(32, 32), 1, window=8, stride=8)
    assert bool(occluded.values["score"].isfinite().all())


def test_parts_may_be_called_as_words_of_python():
    class Heads(Small):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleDict({word: nn.Linear(8, 4) for word in keyword.kwlist})
            self.register_parameter("lambda", nn.Parameter(torch.tensor(2.0)))

        def forward(self, x):
            codes = self.c(x).relu().mean((2, 3)) * getattr(self, "lambda")
            return {"logits": self.heads["class"](codes), "box": self.heads["None"](codes)}

    module, image = toys.seeded(Heads), toys.image(32, 32)
    network = wrapped(module)
    assert torch.allclose(network(image), module(image)["logits"], atol=1e-6)
    assert network.layer("heads.class").shape == (4,)


class Cut(Small):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def test_where_no_gradient_leads_to_the_image_that_is_said():
    network, image = wrapped(toys.seeded(Cut)), toys.image(32, 32)
    for ask in (
        lambda: backprop.gradient(network, image, 1),
        lambda: backprop.smooth_gradient(network, image, 1, samples=2),
        lambda: backprop.integrated_gradients(network, image, 1),
        lambda: fooling.fgsm(network, image),
        lambda: fooling.pgd(network, image, steps=2),
        lambda: fooling.sign_line(network, image, points=3),
        lambda: fooling.minimal_perturbation(network, image, "class 1"),
        lambda: saliency.saliency_map(network, image, 1),
        lambda: optimize.visualize(network, 1, steps=2, size=32),
    ):
        with pytest.raises(BadSetting, match="no gradient leads"):
            ask()
    assert bool(occlusion.occlusion_map(network, image, 1, window=8).values["score"].any())


@pytest.mark.parametrize(
    "last",
    [lambda _, s: s.argmax(1), lambda _, s: s.topk(3), lambda _, s: F.one_hot(s.argmax(1), 5)],
)
def test_an_answer_that_has_decided_already_is_refused(last):
    with pytest.raises(CannotTrace, match="give back the scores"):
        wrapped(made(last))


def test_channels_may_stand_before_or_after_a_size():
    for given in ((3, 24, 32), (24, 32, 3), (24, 32), (1, 24, 32)):
        assert wrapped(toys.seeded(Small), input_size=given).input_size == (24, 32)


def test_a_deformed_convolution_does_not_end_the_process():
    from torchvision.ops import deform_conv2d

    class Deformed(Small):
        def __init__(self) -> None:
            super().__init__()
            self.offsets = nn.Conv2d(3, 18, 3, padding=1)

        def forward(self, x):
            maps = deform_conv2d(x, self.offsets(x), self.c.weight, padding=1)
            return self.f(maps.relu().mean((2, 3)))

    network = wrapped(toys.seeded(Deformed))
    assert network.layers[-1].kind == "linear"
    # where it reads is for each image to say, so nothing that was measured holds for another
    assert receptive_box(network, "deform_conv2d", (4, 5)) == (0, 0, 32, 32)


class Enlarging(Small):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)

    def forward(self, x):
        return self.f(self.up(self.c(x).relu()).relu().mean((2, 3)))


class Places(Small):
    def forward(self, x):
        rows = torch.linspace(-1, 1, x.shape[2], device=x.device).view(1, 1, -1, 1)
        return self.f(self.c(x + rows).relu().mean((2, 3)))


@pytest.mark.parametrize(("kind", "layer"), [(Enlarging, "up"), (Places, "c")])
def test_a_neurons_value_is_that_of_the_whole_picture(kind, layer):
    module, values = toys.seeded(kind), []
    network = wrapped(module)
    getattr(module, layer).register_forward_hook(lambda *given: values.append(given[2]))
    for place in ((10, 20), (10, 21), (11, 21), (31, 0)):
        frame = optimize.visualize(network, (layer, 0, place), steps=3, size=32)
        module(frame.image)
        assert float(frame.score) == pytest.approx(values[-1][0, 0][place].item(), abs=1e-5)


class Turned(Small):
    def forward(self, x):
        return self.f(self.c(x.transpose(2, 3)).relu().mean((2, 3)))


def test_patches_of_a_map_that_lies_across_contain_what_they_answer_to():
    network, image = wrapped(toys.seeded(Turned)), toys.image(32, 32)
    found = patches.top_patches(network, "c", image, k=1)
    for box, place in zip(found.boxes[:, 0].tolist(), found.positions[:, 0].tolist(), strict=True):
        inner = receptive_box(network, "c", tuple(place), (32, 32))
        ends = zip((1, 1, -1, -1), box, inner, strict=True)
        assert all(sign * outer <= sign * one for sign, outer, one in ends)


class Gate(Small):
    def forward(self, x):
        maps = self.c(x)
        return self.f((maps * (maps > 0.3)).mean((2, 3)))


class Indices(Small):
    def forward(self, x):
        most, places = F.max_pool2d(self.c(x), 2, return_indices=True)
        return self.f(F.max_unpool2d(most, places, 2).relu().mean((2, 3)))


class Waves(Small):
    def forward(self, x):
        waves = torch.fft.rfft2(self.c(x)) * (1 + 0.1j)
        return self.f(torch.fft.irfft2(waves, s=x.shape[2:]).relu().mean((2, 3)))


class PlacesFirst(Small):
    def forward(self, x):
        return self.f(self.c(x).flatten(2).permute(2, 0, 1).tanh().mean(0))


class Patches(Small):
    def forward(self, x):
        both = torch.cat(x.chunk(2, 3))
        return self.f(sum(self.c(both).relu().mean((2, 3)).chunk(2)))


READING = {
    "activations": lambda n, layer, x: n.activations(x, [layer]),
    "similarity": lambda n, layer, x: activations.similarity(n, x, 1 - x, [layer]),
    "changes": lambda n, layer, x: activations.unit_changes(n, x, 1 - x, layer),
    "votes": lambda n, layer, x: activations.class_votes(n, x, (layer, 1)),
    "gradient": lambda n, layer, x: backprop.gradient(n, x, (layer, 1)),
    "codes": lambda n, layer, x: codes.codes(n, x, layer),
    "dream": lambda n, layer, x: dream.dream(n, x, layer, recipe=dream.DreamRecipe(iterations=1)),
    "inversion": lambda n, layer, x: inversion.encode(n, x, layer),
    "occlusion": lambda n, layer, x: occlusion.occlusion_map(n, x, (layer, 1), window=16),
    "signs": lambda n, layer, x: occlusion.sign_changes(n, x, (0, 0, 9, 9), layer),
    "visualization": lambda n, layer, x: optimize.visualize(n, (layer, 1), steps=1, size=32),
    "patches": lambda n, layer, x: patches.top_patches(n, layer, x, k=2),
    "clusters": lambda n, layer, x: patches.scan(n, layer, x, patches.Cluster(part=1), k=2),
    "style": lambda n, layer, x: style.style_losses(n, x, 1 - x, [layer]),
    "memory": lambda n, layer, _: style.memory_needed(n, [layer], (32, 32)),
    "twin": lambda n, layer, x: twins.twin(n, x, 1 - x, layer, steps=1),
    "box": lambda n, layer, _: receptive_box(n, layer, (0, 0)),
}
UNREAD = [
    (Gate, "gt", "true or false"),
    (Indices, "getitem_1", "whole numbers"),
    (Waves, "mul", "complex numbers"),
    (PlacesFirst, "tanh", r"\(1024, 1, 8\) for one image"),
    (Patches, "relu", r"\(2, 8, 32, 16\) for one image"),
]


@pytest.mark.parametrize(("kind", "layer", "words"), UNREAD)
def test_what_gives_no_real_numbers_for_each_image_is_no_layer_for_methods(kind, layer, words):
    network, image = wrapped(toys.seeded(kind)), toys.image(32, 32)
    assert layer not in [one.name for one in network.layers]
    for call in READING.values():
        with pytest.raises(UnknownLayer, match=f"gives .*{words}.* that work: "):
            call(network, layer, image)


def test_methods_answer_a_network_with_numbers_of_its_own_on_the_way():
    network, image = wrapped(toys.seeded(Places)), toys.image(32, 32)
    for name, call in READING.items():
        assert call(network, "c", image) is not None, name
    up_to = network.up_to("f")
    with torch.autocast("cpu", torch.bfloat16):
        assert up_to(image).dtype == torch.float32


def test_methods_of_maps_refuse_what_is_neither_a_map_nor_a_vector():
    class Tokens(Small):
        def forward(self, x):
            return self.f(self.c(x).flatten(2).transpose(1, 2).relu().mean(1))

    network, image = wrapped(toys.seeded(Tokens)), toys.image(32, 32)
    for name in ("similarity", "patches", "clusters", "style"):
        with pytest.raises(BadSetting, match=r"\(1024, 8\).*near it that work: .*c"):
            READING[name](network, "relu", image)
    with pytest.raises(BadSetting, match=r"32 x 32 positions has no \(40, 1\)"):
        optimize.visualize(network, ("c", 1, (40, 1)), steps=1, size=32)


class Batch(Small):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def forward(self, x):
        return self.f(self.norm(self.c(x)).relu().mean((2, 3)))


class Centred(Small):
    def forward(self, x):
        means = self.c(x).relu().mean((2, 3))
        return self.f(means - means.mean(0) / 2)


class Cropped(Small):
    def forward(self, x):
        maps = self.c(x).relu()
        row = min(int(maps.mean((0, 1, 3)).argmax()), 20)
        return self.f(self.more(maps[:, :, row : row + 8]).mean((2, 3)))


class Still(Small):
    def forward(self, x):
        maps = self.c(x)
        if maps.mean() > 100:
            maps = maps + 1
        return self.f(self.more(maps.relu()).mean((2, 3)))


def test_a_box_that_goes_by_the_numbers_in_an_image_is_all_of_it():
    for kind, expected in ((Cropped, (0, 0, 32, 32)), (Still, (3, 2, 8, 7))):
        module = toys.seeded(kind)
        network = wrapped(module)
        assert network.opaque
        assert network.layer("more").receptive_field is None
        assert receptive_box(network, "more", (3, 4)) == expected


class Gated(Small):
    def forward(self, x):
        maps = self.c(x)
        gates = maps.mean((0, 2, 3)).sigmoid().view(1, -1, 1, 1)
        return self.f((maps * gates).relu().mean((2, 3)))


@pytest.mark.parametrize("kind", [Batch, Centred, Gated, Cropped])
def test_what_depends_on_its_batch_is_asked_about_one_image_at_a_time(kind):
    module, pictures = toys.seeded(kind).eval(), toys.image(32, 32, count=3)
    network = wrapped(module)
    assert bool(network.opaque) == (kind is Cropped)
    assert "each" in " ".join(network.notes)
    asking = pictures.clone().requires_grad_(True)
    alone = torch.cat([module(one) for one in asking.split(1)])
    assert torch.allclose(network(pictures), alone, atol=1e-5)
    (expected,) = torch.autograd.grad(alone[:, 1].sum(), asking)
    found = backprop.gradient(network, pictures, 1).values
    assert float((found - expected).norm() / expected.norm()) < 1e-3
    hidden = occlusion.occlusion_map(network, pictures[:1], 1, window=16, stride=8, fill="black")
    boxes = [(*rows, *columns) for rows in hidden.rows for columns in hidden.columns]
    for (top, bottom, left, right), value in zip(
        boxes, hidden.values["score"].flatten(), strict=True
    ):
        picture = pictures[:1].clone()
        picture[:, :, top:bottom, left:right] = 0
        assert float(module(picture)[0, 1].detach()) == pytest.approx(float(value), abs=1e-5)
    if not network.opaque:
        for ask in (
            lambda some: activations.class_votes(network, some, ("c", 1)).values,
            lambda some: backprop.gradient(network, some, 1, rule="guided").values,
        ):
            assert torch.equal(ask(pictures)[2:], ask(pictures[2:]))


def test_a_mean_of_grey_values_from_0_to_255_is_refused():
    for mean, std in (((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), ((104, 117, 123), 1)):
        with pytest.raises(BadSetting, match="divide mean and std by 255"):
            networks.wrap(toys.seeded(Small), mean=mean, std=std, input_size=32)


def test_the_scores_are_found_by_the_names_that_people_give_them():
    for key in ("pred", "y_hat", "class_logits", "cls", "prediction"):
        module = made(lambda self, s, key=key: {"features": s * 3, key: s, "z": s + 1})
        image = toys.image(32, 32)
        assert torch.allclose(wrapped(module)(image), Small.forward(module, image), atol=1e-6), key


def test_yes_or_no_for_each_class_is_said_to_be_no_probability_here():
    notes = " ".join(wrapped(made(lambda _, s: s.sigmoid())).notes)
    assert "ends in a sigmoid" in notes
    assert "yes or no to each class" in notes


class Remembering(Small):
    before = None

    def forward(self, x):
        maps = self.c(x)
        old, self.before = self.before, maps.detach()
        maps = maps if old is None or old.shape != maps.shape else maps + old
        return self.f(maps.relu().mean((2, 3)))


class Locked(Small):
    def __init__(self) -> None:
        super().__init__()
        self.guard = threading.Lock()


class Misspelt(Small):
    def forward(self, x):
        return self.f(self.convolution(x).mean((2, 3)))


class Returning(Small):
    def forward(self, x):
        super().forward(x)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Remembering, r"changes self\.before from one call to the next"),
        (Locked, r"its attribute guard \(a lock\) stands in the way"),
        (Misspelt, r"(?s)AttributeError.*no attribute 'convolution'.*self\.f\(self\.convolution"),
        (Returning, r"gives back None, as one without a return does"),
    ],
)
def test_what_is_in_the_way_is_named(kind, words):
    with pytest.raises(CannotTrace, match=words):
        wrapped(toys.seeded(kind))


@pytest.mark.parametrize(
    "forward",
    [
        lambda _, s: s + torch.zeros(1).expand(len(s), 1),
        lambda _, s: s + torch.arange(len(s) * 5).view(len(s), 5) * 0,
        lambda _, s: s * torch.full((len(s), 1), 2.0),
        lambda _, s: torch.cat([part.unsqueeze(0) for part in s.view(len(s), -1).unbind(1)]).t(),
    ],
)
def test_the_number_of_images_is_followed_where_it_is_counted_unseen(forward):
    module, images = made(forward), torch.cat([toys.image(32, 32, seed=k) for k in range(5)])
    network = wrapped(module)
    assert not network.opaque
    assert torch.allclose(network(images), module(images), atol=1e-6)
    assert torch.allclose(network(images[:1]), module(images[:1]), atol=1e-6)


def test_of_several_tensors_the_number_of_classes_tells_which_are_the_scores():
    module = made(lambda self, s: (torch.cat([s, s], 1), s))
    with pytest.raises(CannotTrace, match="of 10 or 5 classes: name the classes"):
        wrapped(module)
    network = wrapped(module, categories=["a", "b", "c", "d", "e"])
    image = toys.image(32, 32)
    assert torch.allclose(network(image), module(image)[1], atol=1e-6)


class Rows(Small):
    """It goes through the rows one by one, as many as there are."""

    def forward(self, x):
        state = torch.zeros(x.size(0), 8)
        for row in self.c(x).unbind(2):
            state = torch.tanh(state + row.mean(2))
        return self.f(state)


class Normalizing(Small):
    def forward(self, x):
        return super().forward(torchvision.transforms.Normalize([0.5] * 3, [0.2] * 3)(x))


class Exchanging(Small):
    def forward(self, x):
        twice = {name: 2 * weight for name, weight in self.c.named_parameters()}
        return self.f(torch.func.functional_call(self.c, twice, (x,)).relu().mean((2, 3)))


class Grouping(Small):
    def forward(self, x):
        maps = self.c(x)
        return self.f(maps.view(2 * len(x), -1).softmax(1).view_as(maps).amax((2, 3)))


@pytest.mark.parametrize("kind", [Rows, Normalizing, Exchanging, Grouping])
def test_a_graph_gives_the_modules_scores_for_three_images_of_another_size(kind):
    module = toys.seeded(kind)
    network = wrapped(module)
    assert not network.opaque
    sizes = [(32, 32)] if kind is Grouping else [(32, 32), (40, 32)]
    for height, width in sizes:
        images = toys.image(height, width, count=3)
        assert torch.allclose(network(images), module(images), atol=1e-5)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (
            lambda self, x: torch.cat([self.f(x[k : k + 1]) for k in range(len(x))]),
            "image by image",
        ),
        (lambda self, x: torch.vmap(lambda one: self.f(one) * 2)(x), "torch.vmap"),
    ],
)
def test_what_goes_by_single_images_is_opaque_for_that_reason(forward, words):
    module, images = made(lambda self, s: forward(self, s @ self.f.weight)), toys.image(32, count=3)
    network = wrapped(module)
    assert words in network.opaque
    assert torch.allclose(network(images), module(images), atol=1e-6)


def test_a_named_tuple_names_its_scores():
    kind = collections.namedtuple("Result", ["codes", "logits"])
    module, image = made(lambda _, s: kind(torch.cat([s, s], 1), s)), toys.image(32, 32)
    assert torch.allclose(wrapped(module)(image), module(image).logits, atol=1e-6)


SELECTED = {
    "len": lambda x: len(x[x > 0.9]),
    "numel": lambda x: x[x > 0.9].numel(),
    "nelement": lambda x: x[x > 0.9].relu().nelement(),
    "shape": lambda x: x.masked_select(x > 0.9).shape[0],
    "nonzero": lambda x: (x > 0.9).nonzero().size(0),
    "where": lambda x: len(torch.where(x > 0.9)[0]),
    "unique": lambda x: len(torch.unique((x * 2).round())) > 1,
    "parts": lambda x: sum(1 for _ in x[x > 0.9]),
}


@pytest.mark.parametrize("name", SELECTED)
def test_how_many_numbers_are_selected_is_a_decision_by_numbers(name):
    kind = type(
        "Selecting", (Small,), {"forward": lambda self, x: self.scaled(x, SELECTED[name](x))}
    )
    kind.scaled = lambda self, x, many: Small.forward(self, x) * (2 if many else 1)
    module = toys.seeded(kind)
    network = wrapped(module)
    assert "how many numbers are selected" in network.opaque
    for image in (toys.image(32), 0.1 * toys.image(32)):
        assert torch.allclose(network(image), module(image), atol=1e-6)


def test_a_selection_whose_size_nobody_reads_is_recorded():
    def masked(self, x):
        maps = self.c(x).clone()
        maps[maps < 0] = 0.1 * maps[maps < 0]
        corners = torch.ones(x.size(2), x.size(3)).triu().nonzero()
        return self.f(maps.flatten(2).mean(2)) / len(corners)

    module, images = toys.seeded(type("Masked", (Small,), {"forward": masked})), toys.image(40, 32)
    network = wrapped(module)
    assert not network.opaque
    assert torch.allclose(network(images), module(images), atol=1e-6)


LAYOUTS = {
    "nelement": lambda x: x[0].nelement() > 3 * 36 * 36,
    "numel": lambda x: torch.numel(x[0]) > 3 * 36 * 36,
    "stride": lambda x: x.stride(2) > 36,
    "nbytes": lambda x: x[0].nbytes > 12 * 36 * 36,
    "offset": lambda x: x[:, :, 9:].storage_offset() > 300,
    "contiguous": lambda x: x[:, :, :, :32].is_contiguous(),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_branch_on_a_size_is_another_one_at_another_size_however_it_is_read(name):
    module = toys.seeded(
        lambda: type(
            "Reading",
            (Small,),
            {"forward": lambda self, x: Small.forward(self, x) * (1 + LAYOUTS[name](x))},
        )()
    )
    network = wrapped(module)
    assert not network.opaque
    for side in (32, 40):
        images = toys.image(side, side, count=3)
        assert torch.allclose(network(images), module(images), atol=1e-6)


def test_as_many_chunks_come_back_as_the_size_allows():
    def chunked(self, x):
        parts = self.c(F.max_pool2d(x, 4)).chunk(6, 2)
        return self.f(sum((k + 1) * part.amax((2, 3)) for k, part in enumerate(parts)))

    module = toys.seeded(type("Chunked", (Small,), {"forward": chunked}))
    network = wrapped(module, input_size=56)
    for side in (56, 72, 12):  # 5, 6 and 3 parts
        images = toys.image(side, side)
        assert torch.allclose(network(images), module(images), atol=1e-5)
