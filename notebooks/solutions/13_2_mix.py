def mix(image, towards, away, strength):
    """The image with a little of `towards` mixed in and `away` taken out, inside [0, 1]."""
    direction = towards - away
    direction = direction / direction.abs().max()
    return (image + strength * direction).clamp(0, 1)
