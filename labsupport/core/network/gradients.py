"""The gradient of a number by what it is computed from, or words where none leads there."""

import torch
from torch import Tensor

from labsupport.core.errors import BadSetting


def gradient_of(
    number: Tensor, source: Tensor, *, again: bool = False, of: str = "the image"
) -> Tensor:
    """The gradient of a number (a tensor without axes) by `source`, of its shape. With `again`
    there is another backward pass to come; `of` says in words what the source is.

    Errors: `BadSetting` where no gradient leads from one to the other.
    """
    found = None
    if number.requires_grad and source.requires_grad:
        (found,) = torch.autograd.grad(number, source, retain_graph=again, allow_unused=True)
    if found is None:
        raise BadSetting(
            f"no gradient leads from what is asked about to {of}: on the way the network works "
            "without one (torch.no_grad, detach, NumPy, whole numbers or comparisons). Ask about a "
            "layer before that, or take a method that needs none, such as occlusion"
        )
    return found
