"""LeNet-5, the convolutional network that read the digits on cheques: as it is written today, and
as the paper has it, with few connections, squashed sums, and drawn digits.

LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE, 1998.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

CATEGORIES = tuple(str(digit) for digit in range(10))
INPUT_SIZE = (28, 28)


class LeNet5(nn.Module):
    """LeNet-5 as it is written today: ReLU and max-pooling, 61 706 parameters.

    Takes images (N, 3, 28, 28) in [0, 1], light digits on black; returns scores (N, 10). The
    colour channels are averaged to grey, and two pixels of black on each side make 28 into 32.
    The paper's names: conv1 is C1, pool1 S2, conv2 C3, pool2 S4, fc1 C5, fc2 F6.

    >>> LeNet5()(torch.zeros(2, 3, 28, 28)).shape
    torch.Size([2, 10])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = images.mean(dim=1, keepdim=True)  # (N, 1, 28, 28)
        x = self.pool1(self.relu1(self.conv1(x)))  # (N, 6, 14, 14)
        x = self.pool2(self.relu2(self.conv2(x)))  # (N, 16, 5, 5)
        x = self.relu3(self.fc1(self.flatten(x)))  # (N, 120)
        x = self.relu4(self.fc2(x))  # (N, 84)
        scores: Tensor = self.fc3(x)
        return scores


# As in 1998

# Table I: which of the six maps of S2 each of the sixteen maps of C3 reads
C3_TABLE: tuple[tuple[int, ...], ...] = (
    *(tuple((first + step) % 6 for step in range(3)) for first in range(6)),
    *(tuple((first + step) % 6 for step in range(4)) for first in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# What F6 should say for each digit: a picture of 12 rows of 7, as on the paper's figure 3
_DRAWN = """
.#####. ...##.. .#####. .#####. ##...## ####### .#####. ####### .#####. .#####.
##...## ..###.. ##...## ##...## ##...## ##..... ##...## ##...## ##...## ##...##
##...## .####.. ##...## .....## ##...## ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ##...## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. .....## ##...## ######. ##..... ....##. .##.##. ##...##
##...## ...##.. ....##. ..####. ####### .....## ######. ...##.. ..###.. .######
##...## ...##.. ...##.. .....## .....## .....## ##...## ...##.. .##.##. .....##
##...## ...##.. ..##... .....## .....## .....## ##...## ..##... ##...## .....##
##...## ...##.. ..##... .....## .....## .....## ##...## ..##... ##...## .....##
##...## ...##.. .##.... ##...## .....## ##...## ##...## .##.... ##...## ##...##
##...## ...##.. ##..... ##...## .....## ##...## ##...## .##.... ##...## ##...##
.#####. .###### ####### .#####. .....## .#####. .#####. .##.... .#####. .#####.
"""


class LeNet5Of1998(nn.Module):
    """LeNet-5 with the parts that later readings leave out (section II.B): 60 000 parameters.

    Takes images (N, 3, 28, 28) in [0, 1], light digits on black; returns scores (N, 10). C3 reads
    only the maps that Table I names. S2 and S4 add four neighbours, multiply the sum by one number
    and add another. All squash with 1.7159 tanh(2/3 a). A score is the negative squared distance
    of F6 from a small picture of the digit, which is drawn and not learned; the paper calls these
    radial basis functions.

    >>> sum(weights.numel() for weights in LeNet5Of1998().parameters())
    60000
    """

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.squash1 = ScaledTanh()
        self.s2 = subsampling(6)
        self.squash2 = ScaledTanh()
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)
        parametrize.register_parametrization(self.c3, "weight", Connections(C3_TABLE, 6))
        self.squash3 = ScaledTanh()
        self.s4 = subsampling(16)
        self.squash4 = ScaledTanh()
        self.c5 = nn.Conv2d(16, 120, kernel_size=5)
        self.squash5 = ScaledTanh()
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.squash6 = ScaledTanh()
        self.output = RadialBasis()

    def forward(self, images: Tensor) -> Tensor:
        x = images.mean(dim=1, keepdim=True)  # (N, 1, 28, 28)
        x = self.squash2(self.s2(self.squash1(self.c1(x))))  # (N, 6, 14, 14)
        x = self.squash4(self.s4(self.squash3(self.c3(x))))  # (N, 16, 5, 5)
        x = self.flatten(self.squash5(self.c5(x)))  # (N, 120)
        x = self.squash6(self.f6(x))  # (N, 84)
        scores: Tensor = self.output(x)
        return scores


class RadialBasis(nn.Module):
    """Euclidean radial basis functions: minus the squared distance from each digit's bitmap."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: Tensor
        self.register_buffer("pictures", digit_bitmaps())

    def forward(self, values: Tensor) -> Tensor:
        apart = values.unsqueeze(1) - self.pictures  # (N, 10, 84)
        return -apart.square().sum(2)


class ScaledTanh(nn.Module):
    """The paper's squashing function, 1.7159 tanh(2/3 a): it takes 1 to 1 and -1 to -1."""

    def forward(self, sums: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(sums * (2 / 3))


def subsampling(maps: int) -> nn.Conv2d:
    """Sums of 2 x 2 neighbours, each map with one coefficient and one bias to learn."""
    layer = nn.Conv2d(maps, maps, kernel_size=2, stride=2, groups=maps)
    nn.init.constant_(layer.weight, 0.5)  # small random numbers would let hardly anything through
    parametrize.register_parametrization(layer, "weight", SharedCoefficient())
    return layer


class SharedCoefficient(nn.Module):
    """The weights (maps, 1, 2, 2) of a subsampling layer, from one number for each map."""

    def forward(self, coefficients: Tensor) -> Tensor:
        return coefficients[:, None, None, None].expand(-1, 1, 2, 2)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.mean((1, 2, 3))


class Connections(nn.Module):
    """The weights (out, in, 5, 5) of a convolution in which a map reads only some maps.

    Only the weights that a table of connections allows are parameters; the others are zero.
    """

    def __init__(self, table: tuple[tuple[int, ...], ...], maps: int) -> None:
        super().__init__()
        self.maps = maps
        self.count = len(table)
        pairs = [(row, source) for row, sources in enumerate(table) for source in sources]
        self.reading: Tensor
        self.read: Tensor
        # true numbers even where a network is only sketched, on the device "meta"
        rows, sources = torch.tensor(pairs, device="cpu").T
        self.register_buffer("reading", rows)
        self.register_buffer("read", sources)

    def forward(self, values: Tensor) -> Tensor:
        weight = values.new_zeros(self.count, self.maps, *values.shape[1:])
        whole: Tensor = weight.index_put((self.reading, self.read), values)
        return whole

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight[self.reading, self.read]


def digit_bitmaps() -> Tensor:
    """The digits 0 to 9 as F6 should say them, (10, 84): 1 where there is ink, -1 elsewhere."""
    rows = [line.split() for line in _DRAWN.strip().splitlines()]
    pictures = [[list(row[digit]) for row in rows] for digit in range(10)]
    return torch.tensor([[1.0 if dot == "#" else -1.0 for row in one for dot in row]
                         for one in pictures])  # fmt: skip
