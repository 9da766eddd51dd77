def strongest(response):
    """The (row, column) of the largest number in a map."""
    best_row = response.max(dim=1).values.argmax().item()
    return best_row, response[best_row].argmax().item()
