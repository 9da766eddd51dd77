import torch


def mosaic(maps, columns):
    """All maps (C, height, width) in one matrix, row by row, a line of zeros around each."""
    count, height, width = maps.shape
    rows = -(-count // columns)
    sheet = torch.zeros(rows * (height + 1) + 1, columns * (width + 1) + 1)
    for channel in range(count):
        row, column = divmod(channel, columns)
        top, left = 1 + row * (height + 1), 1 + column * (width + 1)
        sheet[top : top + height, left : left + width] = maps[channel]
    return sheet
