def nearest(codes, number, k):
    """The numbers of the k images whose codes make the smallest angle with that of one image."""
    unit = codes / codes.norm(dim=1, keepdim=True)
    cosines = unit @ unit[number]
    cosines[number] = -1
    return cosines.argsort(descending=True)[:k].tolist()
