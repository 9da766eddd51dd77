import torch


def unpool(values, switches, size):
    """A map of this size, each value where its switch says, added up where they meet."""
    placed = torch.zeros(size)
    for value, place in zip(values.flatten(), switches.flatten(), strict=True):
        placed[place // size[1], place % size[1]] += value
    return placed
