def keep(values, overlaps, most):
    """The numbers of the patches that stay, best first: none overlaps a better one by more."""
    stay = []
    for patch in sorted(range(len(values)), key=lambda number: -values[number]):
        if all(overlaps[patch][better] <= most for better in stay):
            stay.append(patch)
    return stay
