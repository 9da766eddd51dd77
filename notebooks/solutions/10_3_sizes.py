def sizes(height, width, octaves, scale):
    """The sizes (height, width) of all octaves, the smallest first."""
    found = [(height, width)]
    for _ in range(octaves - 1):
        height, width = round(height / scale), round(width / scale)
        found.append((height, width))
    return found[::-1]
