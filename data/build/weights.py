"""SqueezeNet 1.1 in torchvision's convention, half precision: `python weights.py SCRATCH`.

The source expects BGR pixels in 0 ... 255 with the channel means taken off; torchvision's network
expects RGB in [0, 1], minus a mean, divided by a deviation. conv1 has no padding, so the change of
convention folds into its weight and bias exactly.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sources import DATA, scratch
from torchvision.models import squeezenet1_1

MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])
SOURCE_MEAN = torch.tensor([123.68, 116.779, 103.939])  # of red, green, blue in 0 ... 255

FIRES = {
    "fire2": 3,
    "fire3": 4,
    "fire4": 6,
    "fire5": 7,
    "fire6": 9,
    "fire7": 10,
    "fire8": 11,
    "fire9": 12,
}


ADMITTED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


class ArraysOnly(pickle.Unpickler):
    """An unpickler that admits numpy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_arrays(path: Path) -> dict[str, list[np.ndarray]]:
    with path.open("rb") as file:
        arrays: dict[str, list[np.ndarray]] = ArraysOnly(file).load()
    return arrays


def torch_name(layer: str) -> str:
    """`fire2/expand1x1` -> `features.3.expand1x1`."""
    if layer == "conv1":
        return "features.0"
    if layer == "conv10":
        return "classifier.1"
    fire, part = layer.split("/")
    return f"features.{FIRES[fire]}.{part.replace('squeeze1x1', 'squeeze')}"


def unfolded(arrays: dict[str, list[np.ndarray]]) -> dict[str, torch.Tensor]:
    """The source's weights under torchvision's names: (out, in, kh, kw) kernels and biases."""
    state = {}
    for layer, (kernel, bias) in arrays.items():
        name = torch_name(layer)
        state[f"{name}.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()
        state[f"{name}.bias"] = torch.from_numpy(bias).clone()
    return state


def folded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same network for torchvision's normalized RGB input."""
    weight = state["features.0.weight"].flip(1)  # BGR -> RGB
    shift = (255 * MEAN - SOURCE_MEAN).view(1, 3, 1, 1)
    result = dict(state)
    result["features.0.weight"] = (weight * (255 * STD).view(1, 3, 1, 1)).contiguous()
    result["features.0.bias"] = state["features.0.bias"] + (weight * shift).sum((1, 2, 3))
    return result


def check(source: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    """The folded network must agree with the unfolded one; half precision must hardly move it."""
    ours, theirs, half = (squeezenet1_1().eval() for _ in range(3))
    theirs.load_state_dict(source)
    ours.load_state_dict(state)
    half.load_state_dict({name: value.half().float() for name, value in state.items()})
    image = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    normalized = (image - MEAN.view(1, 3, 1, 1)) / STD.view(1, 3, 1, 1)
    with torch.no_grad():
        scores = ours(normalized)
        bgr = (255 * image - SOURCE_MEAN.view(1, 3, 1, 1)).flip(1)
        difference = (theirs(bgr) - scores).abs().max() / scores.abs().max()
        moved = (half(normalized).softmax(1) - scores.softmax(1)).abs().max()
    print(f"folded against unfolded: {difference:.1e} of the largest score")
    print(f"float16 moves a probability by at most {moved:.1e}")
    if difference > 1e-5 or moved > 1e-3:
        raise SystemExit("the folded weights are not the source's network")


def main() -> None:
    folder = scratch("Fold SqueezeNet 1.1 into torchvision's convention.")
    (path,) = folder.glob("ndf-*/ndf/example_models/weights/squeezenet_weights.pkl")
    source = unfolded(read_arrays(path))
    state = folded(source)
    check(source, state)
    (DATA / "weights").mkdir(exist_ok=True)
    save_file(
        {name: value.half() for name, value in state.items()},
        DATA / "weights" / "squeezenet1_1.safetensors",
        metadata={"network": "SqueezeNet 1.1, ImageNet, torchvision's convention"},
    )


if __name__ == "__main__":
    main()
