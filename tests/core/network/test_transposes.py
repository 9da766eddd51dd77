"""Unpooling, by round trip and against PyTorch's own where windows do not overlap."""

import pytest
import torch
from torch.nn import functional as F

from labsupport.core.network.transposes import unpool


def pooled(kernel: int, stride: int, size=(9, 8), *, padding: int = 0):
    maps = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    values, switches = F.max_pool2d(maps, kernel, stride, padding, return_indices=True)
    return maps, values, switches


def test_pooling_what_was_unpooled_gives_it_back():
    maps, values, switches = pooled(2, 2)
    placed = unpool(values, switches, maps.shape[2:])
    assert torch.equal(F.max_pool2d(placed, 2, 2), values)
    assert torch.equal(placed[placed > 0], maps[placed > 0])
    assert torch.equal(placed, F.max_unpool2d(values, switches, 2, 2, output_size=maps.shape))


@pytest.mark.parametrize("padding", [0, 1])
def test_where_windows_overlap_values_add_up(padding):
    maps, values, switches = pooled(3, 2, padding=padding)
    maps.requires_grad_()
    again = F.max_pool2d(maps, 3, 2, padding)
    (expected,) = torch.autograd.grad((again * values).sum(), maps)
    assert switches[0, 0].unique().numel() < switches[0, 0].numel()  # a maximum is shared
    torch.testing.assert_close(unpool(values, switches, maps.shape[2:]), expected)
