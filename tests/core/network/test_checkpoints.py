"""Weights as people save them are loaded, or refused in words that a new user can act on."""

import argparse
import functools
import logging
import re

import pytest
import safetensors.torch
import torch
import torchvision
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.network import catalog

NAME = "squeezenet1_1"


@functools.cache
def trained(classes: int = 1000) -> nn.Module:
    """An architecture of the course's whose first bias is 7."""
    module = catalog.build(catalog.recipe(NAME), None, "random", num_classes=classes).eval()
    with torch.no_grad():
        module.features[0].bias.fill_(7)
    return module


def state(classes: int = 1000, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in trained(classes).state_dict().items()}


def among_others(**more) -> dict[str, object]:
    """What a training loop keeps beside its weights."""
    moments = {0: {"exp_avg": torch.ones(3)}, "names": {"weight": torch.ones(3)}}
    settings = argparse.Namespace(lr=0.1, log=logging.getLogger("training"))
    return {"epoch": 3, "optimizer": {"state": moments}, "settings": settings, **more}


CHECKPOINTS = {
    "a state dict": (state, ()),
    "half precision": (lambda: {n: v.half() for n, v in state().items()}, ()),
    "state_dict": (lambda: among_others(state_dict=state()), ("['state_dict']",)),
    "model": (lambda: {"model": state(), "epoch": 3}, ("['model']",)),
    "net": (lambda: {"net": state(), "acc": 91.2}, ("['net']",)),
    "ema": (lambda: {"ema": {"model": state()}}, ("['ema']['model']",)),
    "two of them": (
        lambda: {
            "model": state(),
            "part": dict(list(state().items())[:9]),
            "ema": {"module": {name: value + 1 for name, value in state().items()}},
        },
        (
            "['model']",
            "['ema']['module'] of the file would fit as well: to load that, "
            "torch.save(torch.load('model_best.pth.tar')['ema']['module'], 'other.pth')",
        ),
    ),
    "DataParallel": (lambda: state(prefix="module."), ("'module.'",)),
    "compiled": (lambda: state(prefix="_orig_mod."), ()),
    "compiled in DataParallel": (lambda: state(prefix="module._orig_mod."), ("'module.'",)),
    "Lightning": (
        lambda: among_others(
            **{"pytorch-lightning_version": "2.4"},
            state_dict={**state(prefix="model."), "loss.weight": torch.ones(1000)},
            hyper_parameters=argparse.Namespace(depth=3),
        ),
        ("['state_dict']", "'model.' in the file; 1 other"),
    ),
    "a student and a teacher": (
        lambda: state(prefix="student.") | {n: v + 1 for n, v in state(prefix="teacher.").items()},
        ("that begin with 'teacher.' would fit as well", "'student.' in the file; 52 others"),
    ),
    "counted": (lambda: {**state(), "features.0.total_ops": torch.zeros(1)}, ()),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_found_in_a_file(name, tmp_path):
    content, notes = CHECKPOINTS[name]
    torch.save(content(), tmp_path / "model_best.pth.tar")
    network = networks.load(NAME, weights=tmp_path / "model_best.pth.tar")
    assert network.source == "file (model_best.pth.tar)"
    bias = network.graph.get_submodule("features.0").bias
    assert (bias[0], bias.dtype) == (7, torch.float32)
    assert len(network.notes) == len(notes)
    for words, note in zip(notes, network.notes, strict=True):
        assert words in note


def test_safetensors_and_the_old_format_and_a_path_as_a_text(tmp_path):
    safetensors.torch.save_file(state(), tmp_path / "own.safetensors")
    torch.save(state(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for file in ("own.safetensors", "old.pt"):
        network = networks.load(NAME, weights=str(tmp_path / file))
        assert network.graph.get_submodule("features.0").bias[0] == 7


def test_another_head_makes_a_network_of_its_classes(tmp_path):
    torch.save({"model": state(10)}, tmp_path / "ten.pth")
    network = networks.load(NAME, weights=tmp_path / "ten.pth")
    assert network.categories == tuple(f"class {number}" for number in range(10))
    image = toys.image(64)
    torch.testing.assert_close(network(image), trained(10)((image - MEAN) / STD))
    names = [f"kind {number}" for number in range(10)]
    assert (
        networks.load(NAME, weights=tmp_path / "ten.pth", categories=names).categories[3]
        == names[3]
    )
    with pytest.raises(BadSetting, match="10 scores, but 2 categories"):
        networks.load(NAME, weights=tmp_path / "ten.pth", categories=["cat", "dog"])


MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def test_older_files_lack_what_newer_versions_count(tmp_path):
    module = torchvision.models.resnet18(weights=None)
    old = {n: v for n, v in module.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    network = networks.load("resnet18", weights=tmp_path / "old.pth")
    torch.testing.assert_close(network.graph.get_submodule("conv1").weight, module.conv1.weight)


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))


def test_ones_own_architecture_takes_a_file_too(tmp_path):
    given, other = toys.seeded(Mine, 1), toys.seeded(Mine, 2)
    torch.save(
        {"net": {f"module.{n}": v for n, v in other.state_dict().items()}}, tmp_path / "w.pt"
    )
    image, before = toys.image(16), given(toys.image(16))
    network = networks.wrap(networks.into(given, tmp_path / "w.pt"), input_size=16, **toys.PLAIN)
    torch.testing.assert_close(network(image), other(image))
    assert torch.equal(given(image), before)
    assert network.source == "file (w.pt)"
    toys.assert_refused(
        ("BadSetting: .*no file", networks.into, given, tmp_path / "none.pt"),
        ("do not fit Mine: 4 names", networks.into, given, empty(tmp_path)),
        ("BadSetting: .*nn.Module", networks.into, given.state_dict(), tmp_path / "w.pt"),
        ("do not fit Mine", networks.register, "mine", Mine, {"weights": empty(tmp_path)}),
    )


class Numbers(nn.Module):
    """Complex weights, and a buffer that single precision would round."""

    def __init__(self):
        super().__init__()
        self.turn = nn.Parameter(torch.randn(4, 3, dtype=torch.cfloat))
        self.fc = nn.Linear(4, 2)
        self.register_buffer("seed", torch.tensor(2**24 + 3))

    def forward(self, x):
        turned = x.mean((2, 3)).to(torch.cfloat) @ self.turn.T
        return self.fc(turned.abs()) + self.seed % 7


def test_numbers_keep_their_kind(tmp_path):
    given = toys.seeded(Numbers, 1)
    torch.save(given.state_dict(), tmp_path / "w.pt")
    read = networks.into(toys.seeded(Numbers, 2), tmp_path / "w.pt")
    assert torch.equal(read.turn, given.turn)
    assert int(read.seed) == 2**24 + 3


def empty(folder):
    torch.save({"alpha": torch.ones(2)}, folder / "alpha.pt")
    return folder / "alpha.pt"


REFUSED = {
    "a module": (lambda: trained(), r"module = torch\.load\(.bad\.pth., weights_only=False\)"),
    "a module in a dictionary": (lambda: {"model": trained(), "epoch": 1}, r"\)\['model'\]\n"),
    "a list": (lambda: [1, 2], "a list; save them with"),
    "an optimizer": (lambda: {"lr": 0.1, "steps": 7}, "a dict of lr, steps; save them"),
    "others": (
        lambda: state(prefix="a.") | {"b.c": torch.ones(1), "a.d": torch.ones(2)},
        "such as d",
    ),
    "a part": (lambda: dict(list(state().items())[:9]), "43 names are missing, such as"),
    "arrays": (lambda: {n: v.numpy() for n, v in state().items()}, r"torch\.from_numpy\(array\)"),
    "sparse": (lambda: {n: v.to_sparse() for n, v in state().items()}, "a sparse tensor, which"),
    "empty": (lambda: {n: v.to("meta") for n, v in state().items()}, "an empty tensor, which"),
    "other shapes": (lambda: {n: v[..., :1] for n, v in state().items()}, r"\(64, 3, 3, 1\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_fitting_weights_says_what_to_do(name, tmp_path):
    content, words = REFUSED[name]
    torch.save(content(), tmp_path / "bad.pth")
    refusal = toys.refusal(networks.load, NAME, weights=tmp_path / "bad.pth")
    assert refusal.startswith("WeightsUnavailable")
    assert re.search(words, refusal), refusal
    assert "add_safe_globals" not in refusal
    assert "torch.load(" not in refusal or "can run any code" in refusal


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_files_that_are_something_else_are_named(tmp_path):
    plain = nn.Sequential(nn.Conv2d(3, 4, 3))
    torch.jit.save(torch.jit.script(plain), tmp_path / "scripted.pt")
    torch.save(state(), tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in {
        "empty.pth": b"",
        "cut.pth": whole[: len(whole) // 2],
        "page.pth": b"\n<!DOCTYPE html><html>",
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1",
        "text.pth": b"these are my weights",
        "model.h5": b"\x89HDF",
        "packed.pth": b"\x1f\x8b\x08",
        "arrays.npz": b"PK",
    }.items():
        (tmp_path / name).write_bytes(content)
    for name, words in (
        ("scripted.pt", r"TorchScript archive.*torch\.jit\.load\(.scripted\.pt.\)"),
        ("empty.pth", "is empty"),
        ("packed.pth", "gunzip"),
        ("arrays.npz", "NumPy's"),
        ("cut.pth", "cut off, damaged"),
        ("page.pth", "a web page"),
        ("pointer.pth", "git lfs pull"),
        ("text.pth", "of another kind"),
        ("model.h5", "Keras"),
    ):
        refusal = toys.refusal(networks.load, NAME, weights=tmp_path / name)
        assert refusal.startswith("WeightsUnavailable")
        assert re.search(words, refusal, re.DOTALL), refusal
