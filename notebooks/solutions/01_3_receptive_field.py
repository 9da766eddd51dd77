def receptive_field(layers):
    """How many pixels along a side one neuron sees after these (kernel, stride) layers."""
    field, step = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * step
        step *= stride
    return field
