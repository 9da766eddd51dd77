"""Exercise 11.2: how far maps are from a style, at one layer."""


def style_loss(maps, style):
    """The squared distance of the Gram matrices, relative to the style's."""
    own = maps.flatten(1) @ maps.flatten(1).T / maps.numel()
    wanted = style.flatten(1) @ style.flatten(1).T / style.numel()
    return (own - wanted).square().sum() / wanted.square().sum()
