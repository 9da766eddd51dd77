"""ZFNet: AlexNet with a finer first layer, found by looking at its features.

Zeiler & Fergus, "Visualizing and understanding convolutional networks", 2013, figure 3.
"""

from collections import OrderedDict

from torch import nn

from labsupport.core.network.architectures.alexnet import classifier, response_normalization

INPUT_SIZE = (224, 224)


class ZFNet(nn.Sequential):
    """The network of the paper's figure 3, in one column.

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
