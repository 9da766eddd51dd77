def nearest(codes, number, k):
    """A list of the k images whose codes make the smallest angle with the code of one image."""
    unit = codes / codes.norm(dim=1, keepdim=True)
    cosines = unit @ unit[number]
    cosines[number] = -1
    return cosines.argsort(descending=True)[:k].tolist()
