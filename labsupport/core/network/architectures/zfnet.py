"""ZFNet: AlexNet with a finer first layer, found by looking at its features.

Zeiler & Fergus, "Visualizing and understanding convolutional networks", 2013, figure 3.
"""

from __future__ import annotations

from torch import Tensor, nn

from labsupport.core.network.architectures.alexnet import response_normalization

INPUT_SIZE = (224, 224)


class ZFNet(nn.Module):
    """The network of the paper's figure 3, in one column.

    Takes images (N, 3, 224, 224); returns scores (N, 1000). conv1 is 7 x 7 with stride 2, where
    AlexNet has 11 x 11 with stride 4. The paper does not give the constants of its contrast
    normalization: AlexNet's are taken. The layers are called conv1 to conv5 and fc6 to fc8.

    >>> ZFNet().conv1
    Conv2d(3, 96, kernel_size=(7, 7), stride=(2, 2), padding=(1, 1))
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, kernel_size=7, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.norm1 = response_normalization()
        self.conv2 = nn.Conv2d(96, 256, kernel_size=5, stride=2)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.norm2 = response_normalization()
        self.conv3 = nn.Conv2d(256, 384, kernel_size=3, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 384, kernel_size=3, padding=1)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(384, 256, kernel_size=3, padding=1)
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
        x = self.norm1(self.pool1(self.relu1(self.conv1(images))))  # (N, 96, 55, 55)
        x = self.norm2(self.pool2(self.relu2(self.conv2(x))))  # (N, 256, 13, 13)
        x = self.relu3(self.conv3(x))  # (N, 384, 13, 13)
        x = self.relu4(self.conv4(x))
        x = self.pool5(self.relu5(self.conv5(x)))  # (N, 256, 6, 6)
        x = self.drop6(self.relu6(self.fc6(self.flatten(x))))  # (N, 4096)
        x = self.drop7(self.relu7(self.fc7(x)))
        scores: Tensor = self.fc8(x)
        return scores
