"""What the folds "In plain PyTorch" ask their reader to have: modules and images of torchvision."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import SqueezeNet

WEIGHTS = Path(__file__).parents[2] / "data" / "weights"


def squeezenet() -> nn.Module:
    """torchvision's own SqueezeNet 1.1 with the bundled weights, in evaluation mode."""
    module = SqueezeNet("1_1")
    weights = load_file(WEIGHTS / "squeezenet1_1.safetensors")
    module.load_state_dict({name: values.float() for name, values in weights.items()})
    return module.eval()


def normalized(images: Tensor) -> Tensor:
    """Images in [0, 1] as torchvision's networks take them."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    return (images - mean) / std
