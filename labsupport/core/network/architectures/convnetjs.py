"""The small network of the ConvNetJS CIFAR-10 demo, which learns in the browser while one watches.

Karpathy's ConvNetJS (2014): three convolutions of 5 x 5, each with a ReLU and a pool of 2 x 2,
and one linear layer. Small enough that its filters can be watched while they form.
"""

from collections import OrderedDict

from torch import nn

INPUT_SIZE = (32, 32)
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)  # the demo takes off the mean alone; this lets larger steps be stable


class ConvNetJS(nn.Sequential):
    """The demo's architecture: 16, 20 and 20 filters of 5 x 5, each layer followed by a pool.

    Takes images (N, 3, 32, 32), normalized by MEAN and STD; returns scores (N, classes). The
    layers are called conv1 to conv3 and fc4.

    >>> import torch
    >>> ConvNetJS()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 7])
    """

    def __init__(self, classes: int = 7) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, 16, kernel_size=5, padding=2),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),  # (N, 16, 16, 16)
                conv2=nn.Conv2d(16, 20, kernel_size=5, padding=2),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),  # (N, 20, 8, 8)
                conv3=nn.Conv2d(20, 20, kernel_size=5, padding=2),
                relu3=nn.ReLU(),
                pool3=nn.MaxPool2d(2),  # (N, 20, 4, 4)
                flatten=nn.Flatten(),
                fc4=nn.Linear(20 * 4 * 4, classes),
            )
        )
