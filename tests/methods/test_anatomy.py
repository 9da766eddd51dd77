"""Every number of an anatomy against another way to it: closed forms, counters, published data."""

import itertools
import math
import os

import pytest
import torch
import torchvision
import toys
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from labsupport.core.network import blueprints, catalog
from labsupport.methods import anatomy as a

PAPERS = {  # parameters, depth
    "lenet5_1998": (60_000, 6),
    "lenet5": (61_706, 5),
    "alexnet_2012": (60_965_224, 8),
    "alexnet": (61_100_840, 8),
    "vgg16": (138_357_544, 16),
    "vgg19": (143_667_240, 19),
    "googlenet": (6_624_904, 22),
    "resnet18": (11_689_512, 18),
    "resnet34": (21_797_672, 34),
    "resnet50": (25_557_032, 50),
}


@pytest.mark.parametrize("name", PAPERS)
def test_parameters_and_depth_are_the_papers(name):
    result = a.anatomy(blueprints.blueprint(name))
    assert (result.parameters, result.depth) == PAPERS[name]


def test_lenets_connections_are_the_340_908_of_the_paper():
    """The paper counts a bias as a connection, and the 840 to the drawn digits."""
    rows = {row.name: row for row in a.anatomy(blueprints.blueprint("lenet5_1998")).layers}
    biases = sum(math.prod(rows[name].shape) for name in ("c1", "s2", "c3", "s4", "c5", "f6"))
    connections = sum(row.multiply_adds for row in rows.values()) + biases + 10 * 84
    assert connections == 340_908
    by_layer = {n: rows[n].multiply_adds + math.prod(rows[n].shape) for n in ("c1", "s2", "c3")}
    assert by_layer == {"c1": 122_304, "s2": 5_880, "c3": 151_600}


def test_one_convolution_in_closed_form():
    def build():
        grouped = nn.Conv2d(6, 8, (3, 5), stride=2, padding=1, groups=2)
        return nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), grouped, nn.Flatten(),
                             nn.Linear(8 * 10 * 9, 4))  # fmt: skip

    result = a.anatomy(blueprints.blueprint_of(build, name="toy", input_size=(20, 20)))
    first, second, _, last = result.layers
    assert (first.parameters, first.multiply_adds) == (18, 18 * 400)
    assert (second.shape, second.memory) == ((8, 10, 9), 4 * 8 * 90)
    assert (second.parameters, second.multiply_adds) == (8 * 3 * 15 + 8, 8 * 3 * 15 * 90)
    assert (second.kernel, second.stride, second.receptive_field) == ((3, 5), (2, 2), (3, 5))
    assert (last.parameters, last.multiply_adds) == (720 * 4 + 4, 720 * 4)
    assert (result.parameters, result.depth) == (18 + 368 + 2884, 3)


def test_a_module_that_is_used_twice_is_counted_once_and_works_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3 * 16, 2)

        def forward(self, x):
            return self.fc(self.conv(self.conv(x)).flatten(1))

    result = a.anatomy(blueprints.blueprint_of(Twice, name="twice", input_size=(4, 4)))
    assert result.parameters == 9 + 98
    assert result.multiply_adds == 2 * 9 * 16 + 96


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18", "densenet121"])
def test_multiply_adds_equal_torchs_own_counter(name):
    network = blueprints.blueprint(name)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        blueprints.skeleton(name).eval()(torch.empty(1, 3, *network.input_size))
    assert 2 * a.anatomy(network).multiply_adds == counter.get_total_flops()


EIGHT = {
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "regnet_y_400mf",
    "resnext50_32x4d", "shufflenet_v2_x0_5",
}  # fmt: skip


def published_names():
    """The networks of torchvision whose multiply-adds are published: of eight families one, and
    with `python -m labsupport test --all` every one."""
    names = torchvision.models.list_models(module=torchvision.models)
    weights = {name: torchvision.models.get_model_weights(name).DEFAULT for name in names}
    every = [name for name, result in weights.items() if "_ops" in result.meta]
    return every if os.environ.get("LABS_TESTS") == "all" else sorted(EIGHT)


@pytest.mark.slow
@pytest.mark.parametrize("name", published_names())
def test_costs_are_what_torchvision_says(name):
    words = catalog.recipe(name).published.meta
    result = a.anatomy(blueprints.blueprint(name))
    blueprints.blueprint.cache_clear()
    assert sum(p.numel() for p in blueprints.skeleton(name).parameters()) >= result.parameters
    # the published figure has three digits after the point
    assert result.multiply_adds / 1e9 == pytest.approx(words["_ops"], rel=0.01, abs=0.0006)


@pytest.mark.parametrize("name", blueprints.names())
def test_blocks_lose_nothing(name):
    result = a.anatomy(blueprints.blueprint(name))
    for key in ("parameters", "multiply_adds", "memory"):
        assert sum(getattr(row, key) for row in result.blocks) == getattr(result, key)
    assert len(result.blocks) <= 27
    assert len({row.name for row in result.blocks}) == len(result.blocks)


def test_blocks_have_the_lectures_names():
    def names(name):
        return [row.name for row in a.anatomy(blueprints.blueprint(name)).blocks]

    assert names("resnet50")[2:6] == ["res2a", "res2b", "res2c", "res3a"]
    assert names("squeezenet1_1")[:4] == ["conv1", "pool1", "fire2", "fire3"]
    assert names("alexnet_2012") == ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5",
                                     "pool5", "fc6", "fc7", "fc8"]  # fmt: skip
    fire = next(r for r in a.anatomy(blueprints.blueprint("squeezenet1_1")).blocks if "2" in r.name)
    assert (fire.name, fire.kind, fire.shape) == ("fire2", "block", (128, 55, 55))


SLIDE = {
    "D": [("conv3-64", 2), ("conv3-128", 2), ("conv3-256", 3), ("conv3-512", 3), ("conv3-512", 3)],
    "E": [("conv3-64", 2), ("conv3-128", 2), ("conv3-256", 4), ("conv3-512", 4), ("conv3-512", 4)],
}


@pytest.mark.parametrize(("column", "name"), [("D", "vgg16"), ("E", "vgg19")])
def test_vggs_rows_are_the_slides(column, name):
    rows = [row for word, times in SLIDE[column] for row in [word] * times + ["maxpool"]]
    rows += ["FC-4096", "FC-4096", "FC-1000", "soft-max"]
    assert list(a.configuration(blueprints.blueprint(name))) == rows


def test_the_table_holds_both_columns():
    table = a.configuration_table({"D": blueprints.blueprint("vgg16"),
                                 "E": blueprints.blueprint("vgg19")})  # fmt: skip
    lines = table.splitlines()
    assert lines[1].split("  ") == ["16 weight layers", "19 weight layers"]
    for column, name in (("D", "vgg16"), ("E", "vgg19")):
        cells = [line[:16] if column == "D" else line[17:] for line in lines]
        rows = [cell.strip() for cell in cells if "conv" in cell]
        wanted = a.configuration(blueprints.blueprint(name))
        assert rows == [row for row in wanted if "conv" in row]
    assert [line.strip() for line in lines if "conv" not in line][-9:] == (
        ["maxpool"] * 5 + ["FC-4096", "FC-4096", "FC-1000", "soft-max"]
    )


def test_published_entries_are_torchvisions():
    result = {(one.network, one.recipe): one for one in a.published()}
    one = result["resnet50", 2]
    words = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.meta
    assert one.parameters == words["num_params"]
    assert one.top1 == words["_metrics"]["ImageNet-1K"]["acc@1"]
    assert one.multiply_adds == 1e9 * words["_ops"]
    assert {"alexnet", "vgg16", "googlenet", "resnet18"} <= {name for name, _ in result}
    assert len(result) == len(a.published()) > 60


@pytest.mark.parametrize(
    "plan",
    [
        a.Design(),
        a.Design(depth=1, head="average"),
        a.Design(image=129, depth=4, first_kernel=11, first_stride=4, padding="none", channels=3),
        a.Design(image=33, depth=4, first_kernel=4, first_stride=3, kernel=2, channels=300),
    ],
)
def test_a_design_is_the_network_that_torch_would_build(plan):
    """Against PyTorch's own shapes, layer for layer, and the closed form of the receptive field."""
    network = a.design(plan)
    result = a.anatomy(network)
    x = torch.empty(1, 3, plan.image, plan.image)
    field, step, channels = 1, 1, plan.channels
    rows = {row.name: row for row in result.layers}
    for number in range(1, plan.depth + 1):
        k = plan.first_kernel if number == 1 else plan.kernel
        s = plan.first_stride if number == 1 else 1
        p = k // 2 if plan.padding == "same" else 0
        x = nn.functional.conv2d(x, torch.empty(channels, x.shape[1], k, k), stride=s, padding=p)
        field, step = field + (k - 1) * step, step * s
        assert rows[f"conv{number}"].shape == tuple(x.shape[1:])
        assert rows[f"conv{number}"].receptive_field == (field, field)
        if number % 2 == 0:
            x = nn.functional.max_pool2d(x, 2)
            field, step = field + step, step * 2
            channels = max(channels, min(2 * channels, 512))
    assert result.layers[-1].shape == (plan.classes,)
    hidden = 2 if plan.head == "fully connected" else 0
    assert result.depth == plan.depth + 1 + hidden
    first = rows[f"fc{plan.depth + 1}"]
    read = x.numel() if hidden else x.shape[1]
    assert first.multiply_adds == read * (4096 if hidden else plan.classes)


class Undecided(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else x


def test_what_cannot_be_is_said_with_the_layer():
    branches, kernel = blueprints.blueprint("resnet18"), {"kernel": 7, "padding": "none"}
    toys.assert_refused(
        ("branches", a.configuration, branches),
        ("BadImage: .*512 x 300", a.anatomy, blueprints.blueprint("zfnet"), (512, 300)),
        (
            "Cannot(Trace|Record)",
            blueprints.blueprint_of,
            Undecided,
            {"name": "u", "input_size": (4, 4)},
        ),
        *(
            (words, lambda **plan: a.design(a.Design(**plan)), plan)
            for words, plan in (
                (
                    "conv1 has a kernel of 11 x 11",
                    {"image": 8, "first_kernel": 11, "padding": "none"},
                ),
                ("pool12 takes 2 x 2, but only 1 x 1 is left", {"image": 64, "depth": 12}),
                ("conv4 has a kernel", {"image": 48, "first_stride": 2, **kernel}),
                ("channels is a whole number", {"channels": 0}),
                ("depth is a whole number", {"depth": 2.5}),
                ("padding is one of 'same', 'none'", {"padding": "valid"}),
                ("head is", {"head": "none"}),
            )
        ),
    )


def test_every_design_fits_or_says_why():
    """Nothing but `BadSetting` comes out, whatever the sliders say."""
    sliders = itertools.product((16, 33, 64), (1, 4, 9), (1, 3, 7), ("same", "none"))
    fitting = 0
    for image, depth, kernel, padding in sliders:
        plan = {"image": image, "depth": depth, "kernel": kernel, "padding": padding}
        whole = a.Design(**plan, first_kernel=kernel, channels=2, head="average")
        words = toys.refusal(lambda whole: a.anatomy(a.design(whole)), whole)
        assert words == "" or "Take fewer layers" in words, plan
        fitting += words == ""
    assert 15 < fitting < 54
