"""AlexNet as it was published: two columns for two graphics cards, and response normalization.

Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012. torchvision's AlexNet is a later one with a single column (Krizhevsky 2014). ZFNet, which
grew out of it, stands below.
"""

from collections import OrderedDict

from torch import nn

INPUT_SIZE = (227, 227)  # the paper says 224, but only 227 gives its 55 x 55 maps
ZFNET_INPUT_SIZE = (224, 224)


class AlexNet2012(nn.Sequential):
    """The published architecture: 60 965 224 parameters.

    Takes images (N, 3, 227, 227); returns scores (N, 1000). Each of the columns holds one half of
    the channels. Only conv3 and the fully connected layers read both: the others are grouped
    convolutions. The layers are called conv1 to conv5 and fc6 to fc8.

    >>> sum(weights.numel() for weights in AlexNet2012().parameters())
    60965224
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, 96, kernel_size=11, stride=4),
                relu1=nn.ReLU(),
                norm1=response_normalization(),
                pool1=nn.MaxPool2d(3, stride=2),  # (N, 96, 27, 27)
                conv2=nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2),
                relu2=nn.ReLU(),
                norm2=response_normalization(),
                pool2=nn.MaxPool2d(3, stride=2),  # (N, 256, 13, 13)
                conv3=nn.Conv2d(256, 384, kernel_size=3, padding=1),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2),
                relu4=nn.ReLU(),
                conv5=nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2),
                relu5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
                **classifier(classes),
            )
        )


class ZFNet(nn.Sequential):
    """AlexNet with a finer first layer, found by looking at its features, in one column.

    Zeiler & Fergus, "Visualizing and understanding convolutional networks", 2013, figure 3.

    Takes images (N, 3, 224, 224); returns scores (N, 1000). conv1 is 7 x 7 with stride 2, where
    AlexNet has 11 x 11 with stride 4. The paper does not give the constants of its contrast
    normalization: AlexNet's are taken. The layers are called conv1 to conv5 and fc6 to fc8.

    >>> ZFNet().conv1
    Conv2d(3, 96, kernel_size=(7, 7), stride=(2, 2), padding=(1, 1))
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, 96, kernel_size=7, stride=2, padding=1),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(3, stride=2, padding=1),
                norm1=response_normalization(),  # (N, 96, 55, 55)
                conv2=nn.Conv2d(96, 256, kernel_size=5, stride=2),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(3, stride=2, padding=1),
                norm2=response_normalization(),  # (N, 256, 13, 13)
                conv3=nn.Conv2d(256, 384, kernel_size=3, padding=1),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(384, 384, kernel_size=3, padding=1),
                relu4=nn.ReLU(),
                conv5=nn.Conv2d(384, 256, kernel_size=3, padding=1),
                relu5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
                **classifier(classes),
            )
        )


def classifier(classes: int) -> dict[str, nn.Module]:
    """The three fully connected layers after 256 maps of 6 x 6."""
    return {
        "flatten": nn.Flatten(),
        "fc6": nn.Linear(256 * 6 * 6, 4096),
        "relu6": nn.ReLU(),
        "drop6": nn.Dropout(),
        "fc7": nn.Linear(4096, 4096),
        "relu7": nn.ReLU(),
        "drop7": nn.Dropout(),
        "fc8": nn.Linear(4096, classes),
    }


def response_normalization() -> nn.LocalResponseNorm:
    """The paper's: a / (2 + 1e-4 * sum of the squares of five neighbouring channels) ** 0.75."""
    # PyTorch divides alpha by the number of channels in the sum, the paper does not
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
