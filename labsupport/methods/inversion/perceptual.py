"""LPIPS: how different two images look, measured with a network's activations."""

from functools import lru_cache

import torch
from safetensors.torch import load_file
from torch import Tensor

from labsupport.core import bundled, device
from labsupport.core import network as networks
from labsupport.core.errors import one_of
from labsupport.core.network import Network
from labsupport.methods.inversion.errors import check_pairs

LAYERS = {
    "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5"),
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
}
_SMALL = 1e-10  # is added to the length of an activation, which may be 0


def perceptual_distance(images: Tensor, others: Tensor, *, judge: str = "alexnet") -> Tensor:
    """LPIPS: how different images look, 0 for equal ones, about 0.65 for unrelated photos; (N,).

    Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
    perceptual metric", CVPR 2018. At each of five layers the activations of a position are divided
    by their length; the squared differences are multiplied by a learned weight for each channel,
    summed over the channels, and averaged over the positions. The five numbers are added up.

    Both are (N, 3, H, W); one image on either side is compared with all of the other. `judge` is
    the bundled network that looks at them, "alexnet" or "vgg16".

    Errors: `BadImage`, also for images that are too small for the network; `BadSetting` for
    several images of each that are not as many, and for another network.

    >>> from labsupport import images
    >>> photo = images.standard(images.sample("chelsea"), 96)
    >>> perceptual_distance(photo, photo)
    tensor([0.])
    """
    check_pairs(images, others)
    weights = perceptual_weights(judge)
    network = _judging(judge, device.pick())
    count = max(len(images), len(others))
    every = (some.detach().expand(count, -1, -1, -1) for some in (images, others))
    pairs = [torch.stack(pair) for pair in zip(*every, strict=True)]
    return torch.stack([_distance(network, weights, pair) for pair in pairs])


def _distance(network: Network, weights: dict[str, Tensor], pair: Tensor) -> Tensor:
    apart = torch.zeros(())
    for layer, maps in network.activations(pair, list(weights)).items():
        units = maps / (torch.linalg.vector_norm(maps, dim=1, keepdim=True) + _SMALL)
        squared = (units[0] - units[1]).square()  # (C, H, W)
        apart = apart + (squared * weights[layer][:, None, None]).sum(0).mean()
    return apart


def perceptual_weights(judge: str = "alexnet") -> dict[str, Tensor]:
    """What LPIPS has learned on this network: by layer a weight for each channel, (C,).

    Errors: `BadSetting` for another network.

    >>> {layer: len(weights) for layer, weights in perceptual_weights().items()}
    {'relu1': 64, 'relu2': 192, 'relu3': 384, 'relu4': 256, 'relu5': 256}
    """
    layers = LAYERS[one_of(judge, LAYERS, "judge")]
    learned = load_file(bundled.path("weights/lpips.safetensors"))
    return {layer: learned[f"{judge}.{place}"] for place, layer in enumerate(layers)}


@lru_cache(maxsize=4)
def _judging(judge: str, where: torch.device) -> Network:
    return networks.load(judge, weights="bundled", device=where)
