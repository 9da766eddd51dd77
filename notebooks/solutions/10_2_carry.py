def carry(base, small, dreamed, resize):
    """The larger copy `base` with what was dreamed into the small one."""
    detail = resize(dreamed - small, base.shape[2:])
    return (base + detail).clamp(0, 1)
