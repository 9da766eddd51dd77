"""AlexNet as it was published: two columns for two graphics cards, and response normalization.

Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012. torchvision's AlexNet is a later one with a single column (Krizhevsky 2014).
"""

from __future__ import annotations

from torch import Tensor, nn

INPUT_SIZE = (227, 227)  # the paper says 224, but only 227 gives its 55 x 55 maps


class AlexNet2012(nn.Module):
    """The published architecture: 60 965 224 parameters.

    Takes images (N, 3, 227, 227); returns scores (N, 1000). Each of the columns holds one half of
    the channels. Only conv3 and the fully connected layers read both: the others are grouped
    convolutions. The layers are called conv1 to conv5 and fc6 to fc8.

    >>> sum(weights.numel() for weights in AlexNet2012().parameters())
    60965224
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, kernel_size=11, stride=4)
        self.relu1 = nn.ReLU()
        self.norm1 = response_normalization()
        self.pool1 = nn.MaxPool2d(3, stride=2)
        self.conv2 = nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2)
        self.relu2 = nn.ReLU()
        self.norm2 = response_normalization()
        self.pool2 = nn.MaxPool2d(3, stride=2)
        self.conv3 = nn.Conv2d(256, 384, kernel_size=3, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2)
        self.relu5 = nn.ReLU()
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.relu6 = nn.ReLU()
        self.drop6 = nn.Dropout()
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop7 = nn.Dropout()
        self.fc8 = nn.Linear(4096, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool1(self.norm1(self.relu1(self.conv1(images))))  # (N, 96, 27, 27)
        x = self.pool2(self.norm2(self.relu2(self.conv2(x))))  # (N, 256, 13, 13)
        x = self.relu3(self.conv3(x))  # (N, 384, 13, 13)
        x = self.relu4(self.conv4(x))
        x = self.pool5(self.relu5(self.conv5(x)))  # (N, 256, 6, 6)
        x = self.drop6(self.relu6(self.fc6(self.flatten(x))))  # (N, 4096)
        x = self.drop7(self.relu7(self.fc7(x)))
        scores: Tensor = self.fc8(x)
        return scores


def response_normalization() -> nn.LocalResponseNorm:
    """The paper's: a / (2 + 1e-4 * sum of the squares of five neighbouring channels) ** 0.75."""
    # PyTorch divides alpha by the number of channels in the sum, the paper does not
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
