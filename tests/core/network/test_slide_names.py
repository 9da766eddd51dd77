"""The lecture's names lead to the layers that the slides mean, checked by what those layers are."""

import pytest
from torch import nn

from labsupport.core import network as networks
from labsupport.core.network.blueprints import blueprint

pytestmark = pytest.mark.usefixtures("one_thread")

# network, the slide's name, PyTorch's name, kind, channels; between these a rule counts on
NAMES = [
    ("alexnet", "conv1", "features.0", "conv", 64),
    ("alexnet", "relu1", "features.1", "relu", 64),
    ("alexnet", "pool1", "features.2", "max_pool", 64),
    ("alexnet", "conv5", "features.10", "conv", 256),
    ("alexnet", "pool5", "features.12", "max_pool", 256),
    ("alexnet", "fc6", "classifier.1", "linear", 4096),
    ("alexnet", "relu7", "classifier.5", "relu", 4096),
    ("alexnet", "fc8", "classifier.6", "linear", 1000),
    ("vgg16", "conv1_1", "features.0", "conv", 64),
    ("vgg16", "conv1_2", "features.2", "conv", 64),
    ("vgg16", "pool1", "features.4", "max_pool", 64),
    ("vgg16", "relu5_3", "features.29", "relu", 512),
    ("vgg16", "pool5", "features.30", "max_pool", 512),
    ("vgg16", "fc6", "classifier.0", "linear", 4096),
    ("vgg16", "fc8", "classifier.6", "linear", 1000),
    ("vgg16", "features", "features.30", "max_pool", 512),  # a container's name is its last layer
    # the last of Gatys' style layers, and the content layer
    ("vgg19", "conv3_4", "features.16", "conv", 256),
    ("vgg19", "conv4_2", "features.21", "conv", 512),
    ("vgg19", "conv5_1", "features.28", "conv", 512),
    ("vgg19", "pool5", "features.36", "max_pool", 512),
    ("squeezenet1_1", "conv1", "features.0", "conv", 64),
    ("squeezenet1_1", "pool1", "features.2", "max_pool", 64),
    ("squeezenet1_1", "fire2", "features.3.cat", "concat", 128),
    ("squeezenet1_1", "pool3", "features.5", "max_pool", 128),
    ("squeezenet1_1", "fire5", "features.7.cat", "concat", 256),
    ("squeezenet1_1", "fire5/squeeze1x1", "features.7.squeeze", "conv", 32),
    ("squeezenet1_1", "fire5/expand3x3", "features.7.expand3x3", "conv", 128),
    ("squeezenet1_1", "conv10", "classifier.1", "conv", 1000),
    ("squeezenet1_1", "pool10", "classifier.3", "adaptive_pool", 1000),
    ("googlenet", "conv1/7x7_s2", "conv1.relu", "relu", 64),
    ("googlenet", "conv2/3x3", "conv3.relu", "relu", 192),
    ("googlenet", "inception_3a/1x1", "inception3a.branch1.relu", "relu", 64),
    ("googlenet", "inception_3b/5x5_output", "inception3b.branch3.1.relu", "relu", 96),
    ("googlenet", "inception_3b/5x5_reduce", "inception3b.branch3.0.relu", "relu", 32),
    ("googlenet", "inception_3b/output", "inception3b.cat", "concat", 480),
    ("googlenet", "inception_3b/pool", "inception3b.branch4.0", "max_pool", 256),
    ("googlenet", "inception_5b/output", "inception5b.cat", "concat", 1024),
    ("googlenet", "loss3/classifier", "fc", "linear", 1000),
    ("resnet18", "conv1", "conv1", "conv", 64),
    ("resnet18", "pool1", "maxpool", "max_pool", 64),
    ("resnet18", "layer1", "layer1.1.relu_1", "relu", 64),
    ("resnet18", "layer1.1", "layer1.1.relu_1", "relu", 64),
    ("resnet18", "res5b", "layer4.1.add", "add", 512),
    ("resnet50", "res4f", "layer3.5.add", "add", 1024),
    ("resnet50", "res2a_branch2b", "layer1.0.conv2", "conv", 64),
    ("densenet121", "conv2_1", "features.denseblock1.denselayer1.conv2", "conv", 32),
    ("densenet121", "pool1", "features.pool0", "max_pool", 64),
]


@pytest.mark.parametrize("name", dict.fromkeys(name for name, *_ in NAMES))
def test_a_slides_name_is_the_layer_that_it_means_and_no_other(name):
    network = blueprint(name)
    for _, slide, dotted, kind, channels in [row for row in NAMES if row[0] == name]:
        layer = network.layer(slide)
        assert (layer.name, layer.kind, layer.shape[0]) == (dotted, kind, channels), slide
        assert layer is network.layer(dotted)
    seen: dict[str, str] = {}
    for layer in network.layers:
        for word in (layer.name, *layer.aliases):
            assert seen.setdefault(word, layer.name) == layer.name
            assert network.layer(word) is layer


def test_a_plain_chain_is_numbered_as_papers_do():
    first = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)]
    second = [nn.Conv2d(4, 4, 3), nn.ReLU6(), nn.Dropout(), nn.Flatten(), nn.Linear(100, 3)]
    network = networks.wrap(nn.Sequential(*first, *second), input_size=16)
    titles = [layer.title for layer in network.layers]
    assert titles == ["conv1", "norm1", "relu1", "pool1", "conv2", "relu2", "drop2", "7", "fc3"]
