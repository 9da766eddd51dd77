def field(layers):
    """How many pixels in a row one unit above these (kernel, stride) layers sees."""
    size, step = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step *= stride
    return size
