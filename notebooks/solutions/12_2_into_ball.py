def into_ball(changed, image, eps):
    """The changed image, brought back to at most eps a pixel from the image, and into [0, 1]."""
    return (image + (changed - image).clamp(-eps, eps)).clamp(0, 1)
