"""LeNet-5, the convolutional network that read the digits on cheques.

LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from torch import Tensor, nn

CATEGORIES = tuple(str(digit) for digit in range(10))
INPUT_SIZE = (28, 28)


class LeNet5(nn.Module):
    """LeNet-5 as it is written today: ReLU and max-pooling, 61 706 parameters.

    Takes images (N, 3, 28, 28) in [0, 1], light digits on black; returns scores (N, 10). The
    colour channels are averaged to grey, and two pixels of black on each side make 28 into 32.
    The paper's names: conv1 is C1, pool1 S2, conv2 C3, pool2 S4, fc1 C5, fc2 F6.

    >>> import torch
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
