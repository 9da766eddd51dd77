"""Networks that nobody here wrote answer as their modules do, or refuse in words.

Random weights, small images. Gradients are held against those of two images: of one alone PyTorch
gives some of these networks a wrong one (a batch norm whose maps and gradient lie in two orders of
memory).
"""

import copy
import os
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchvision
import toys
from torch import nn

from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.network import Network, receptive_box
from labsupport.methods import backprop
from labsupport.methods.fooling import fgsm
from labsupport.methods.occlusion import occlusion_map

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore")]

CLASSES, TARGET = 7, 3
_ONE_HEAD = {"init_weights": False, "aux_logits": False, "transform_input": False}
SIDES = {  # of networks that take other images than those of 64 x 64 pixels
    "googlenet": 96,
    "inception_v3": 96,
    "vit_b_16": 32,
    "timm/vit_tiny_patch16_224": 32,
    "timm/deit_tiny_patch16_224": 32,
    "timm/swin_tiny_patch4_window7_224": 56,
}
SETTINGS = {
    "googlenet": _ONE_HEAD,
    "inception_v3": _ONE_HEAD,
    "vit_b_16": {"image_size": 32},
    **{name: {"img_size": SIDES.get(f"timm/{name}", 64)} for name in (
        "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
        "mixer_s32_224", "xcit_nano_12_p16_224",
    )},
}  # fmt: skip

# The first ones are tried every time: one of each way in which networks are made.
NAMES = (
    *("shufflenet_v2_x0_5", "mobilenet_v3_small", "convnext_tiny", "timm/convnext_atto"),
    *("timm/tf_efficientnet_b0", "timm/mobilenetv3_small_050", "timm/xcit_nano_12_p16_224"),
    *("timm/resnetv2_50", "timm/vit_tiny_patch16_224", "timm/nfnet_l0", "swin_t"),
    *("resnet18", "mobilenet_v2", "efficientnet_b0", "regnet_y_400mf", "mnasnet0_5"),
    *("densenet121", "swin_v2_t", "vit_b_16", "googlenet", "inception_v3", "vgg11_bn"),
    *("timm/resnet18", "timm/efficientnet_b0", "timm/repvgg_a0", "timm/regnetx_002"),
    *("timm/densenet121", "timm/resnest14d", "timm/ghostnet_050", "timm/hardcorenas_a"),
    *("timm/mixnet_s", "timm/rexnet_100", "timm/dla34", "timm/cspresnet50", "timm/fbnetc_100"),
    *("timm/lcnet_050", "timm/edgenext_xx_small", "timm/mobileone_s0", "timm/fasternet_t0"),
    *("timm/poolformer_s12", "timm/starnet_s1", "timm/mobilenetv4_conv_small"),
    *("timm/repghostnet_050", "timm/ese_vovnet19b_dw", "timm/hgnetv2_b0"),
    *("timm/inception_next_atto", "timm/mixer_s32_224", "timm/deit_tiny_patch16_224"),
    "timm/swin_tiny_patch4_window7_224",
)
FEW = 11
TRIED = NAMES if os.environ.get("LABS_TESTS") == "all" else NAMES[:FEW]

# What has not one ReLU; all others have rules.
WITHOUT_RELUS = {
    *("convnext_tiny", "timm/convnext_atto", "swin_t", "swin_v2_t", "vit_b_16", "efficientnet_b0"),
    *("timm/efficientnet_b0", "timm/tf_efficientnet_b0", "timm/cspresnet50", "timm/fasternet_t0"),
    *("timm/edgenext_xx_small", "timm/poolformer_s12", "timm/inception_next_atto"),
    *("timm/mixer_s32_224", "timm/vit_tiny_patch16_224", "timm/deit_tiny_patch16_224"),
    *("timm/xcit_nano_12_p16_224", "timm/swin_tiny_patch4_window7_224"),
}
# Attention, or a mean over all places: there the field is unknown, or the whole image.
MIXING = {"timm/nfnet_l0", "timm/vit_tiny_patch16_224", "timm/deit_tiny_patch16_224"}


def built(name: str) -> nn.Module:
    import timm  # seconds, which those that collect the tests need not wait

    plain = name.removeprefix("timm/")
    settings = SETTINGS.get(plain, {})
    if name != plain:
        make = partial(timm.create_model, plain, pretrained=False, num_classes=CLASSES, **settings)
    else:
        make = partial(
            torchvision.models.get_model, plain, weights=None, num_classes=CLASSES, **settings
        )
    module = toys.shake(toys.seeded(make))
    for weights in module.parameters():
        if not weights.any() and weights.ndim > 1:  # heads that begin at zero
            nn.init.normal_(weights.data, 0, 0.02, generator=torch.Generator().manual_seed(1))
    return module


def maps_of(module: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each module gives for the first time, by its name."""
    given: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module, _images, result) -> None:
            if isinstance(result, torch.Tensor) and name not in given:
                given[name] = result.detach().clone()

        return hook

    handles = [part.register_forward_hook(keep(name)) for name, part in module.named_modules()]
    with torch.no_grad():
        module(images)
    for handle in handles:
        handle.remove()
    return given


def assert_scores_and_maps(network: Network, module: nn.Module, images: torch.Tensor) -> None:
    given = maps_of(module, images)
    names = [layer.name for layer in network.layers if layer.name in given]
    assert len(names) > 5
    found = network.activations(images, names)
    with torch.no_grad():
        found[""] = network(images)
    for name in (*names, ""):
        near = 1e-4 * float(given[name].abs().max()) + 1e-6
        torch.testing.assert_close(found[name], given[name], rtol=0, atol=near, msg=name)


def gradient_of(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    (gradient,) = torch.autograd.grad(module(images)[:, TARGET].sum(), images)
    return gradient.double()


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """How far gradients of three images are off, as a share of their length: the middle one, for
    in one of them a ReLU may have opened or shut by rounding."""
    lengths = expected.flatten(1).norm(dim=1)
    return float(((found - expected).flatten(1).norm(dim=1) / lengths).median())


def assert_gradient_and_signs(network: Network, module: nn.Module, images: torch.Tensor) -> None:
    expected = gradient_of(copy.deepcopy(module).double(), images.double())
    ordered = images.contiguous(memory_format=torch.channels_last)
    rounding = off(gradient_of(module, ordered), expected)  # of single precision, PyTorch's own
    near = max(1e-3, 2 * rounding)
    assert near < 0.05
    assert off(backprop.gradient(network, images, TARGET).values, expected) <= near
    alone = [backprop.gradient(network, one[None], TARGET).values for one in images]
    assert off(torch.cat(alone), expected) <= near
    own = images.clone().requires_grad_()
    labels = module(own).argmin(1)
    loss = nn.functional.cross_entropy(module(own), labels, reduction="sum")
    (slope,) = torch.autograd.grad(loss, own)
    moved = fgsm(network, images, eps=1e-3, label=labels).images - images
    certain = slope.abs() > 1e-3 * slope.abs().max()
    inside = (images > 2e-3) & (images < 1 - 2e-3) & certain
    assert (moved.sign() == slope.sign())[inside].float().mean() > 0.995


def assert_occlusion(network: Network, module: nn.Module, images: torch.Tensor) -> None:
    side = images.shape[2] // 4
    found = occlusion_map(network, images[:1], TARGET, window=side, stride=side, fill="black")
    hidden = images.clone()
    hidden[..., side : 2 * side, 2 * side : 3 * side] = 0
    with torch.no_grad():
        expected = module(hidden)[0]
    close = 1e-5 * float(expected.abs().max())
    assert float(found.values["score"][1, 2]) == pytest.approx(float(expected[TARGET]), abs=close)


def assert_boxes(network: Network, images: torch.Tensor, mixing: bool) -> None:
    """They contain the gradient's support, and are not much larger."""
    maps = [layer for layer in network.layers if layer.has_map and min(layer.shape[1:]) > 1]
    for layer in maps[:: max(1, len(maps) // 5)]:
        row, column = layer.shape[1] // 2, layer.shape[2] // 2
        left, top, right, bottom = receptive_box(network, layer.name, (row, column))
        own = images.clone().requires_grad_()
        values = network.up_to(layer.name)(own)[..., row, column]
        (gradient,) = torch.autograd.grad((values * torch.rand_like(values)).sum(), own)
        seen = (gradient != 0).flatten(0, 1).any(0)
        rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
        if len(rows):
            support = (int(rows[-1]) + 1 - int(rows[0])) * (int(columns[-1]) + 1 - int(columns[0]))
            assert left <= columns[0] <= columns[-1] < right, layer.name
            assert top <= rows[0] <= rows[-1] < bottom, layer.name
            assert mixing or (right - left) * (bottom - top) <= 1.5 * support, layer.name


class Rule(torch.autograd.Function):
    """A ReLU with guided backpropagation's gradient, written by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, above):
        (x,) = ctx.saved_tensors
        return above.relu() * (x > 0)


class Guided(torch.overrides.TorchFunctionMode):
    """Every ReLU of a module that runs, and every ReLU6, follows the rule."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "").rstrip("_")
        if name == "relu":
            return Rule.apply(args[0])
        if name in ("relu6", "hardtanh"):  # both ends of a ReLU6
            return 6 - Turned.apply(6 - Rule.apply(args[0]))
        return func(*args, **(kwargs or {}))


class Turned(Rule):
    """The same for what is taken from 6: gradients arrive with the other sign."""

    @staticmethod
    def backward(ctx, above):
        (x,) = ctx.saved_tensors
        return above * (x > 0)


def assert_rules(network: Network, module: nn.Module, images: torch.Tensor, has: bool) -> None:
    if not has:
        with pytest.raises(BadSetting, match="no ReLU"):
            backprop.gradient(network, images, TARGET, rule="guided")
        return
    with Guided():
        expected = gradient_of(copy.deepcopy(module).double(), images.double())
        ordered = images.contiguous(memory_format=torch.channels_last)
        near = max(1e-3, 2 * off(gradient_of(module, ordered), expected))
    assert near < 0.05
    assert off(backprop.gradient(network, images, TARGET, rule="guided").values, expected) <= near


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_it_answers_as_its_module(name):
    module, side = built(name), SIDES.get(name, 64)
    network, images = (
        networks.wrap(module, input_size=side, **toys.PLAIN),
        toys.image(side, count=3),
    )
    assert not network.opaque
    assert_scores_and_maps(network, module, images)
    assert_gradient_and_signs(network, module, images)
    assert_occlusion(network, module, images)
    assert_boxes(network, images, name in MIXING)
    assert_rules(network, module, images, name not in WITHOUT_RELUS)
