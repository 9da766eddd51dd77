def changed_most(first, second, count):
    """The units whose mean changed most between two pictures, the largest change first."""
    change = second.mean((1, 2)) - first.mean((1, 2))
    return change.abs().topk(count).indices.tolist()
