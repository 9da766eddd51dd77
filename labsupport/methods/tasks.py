"""Tasks: what one classifier can say about a picture: what, where, how many, which pixels.

A network that ends in an average over positions has said the same thing at each position before:
its class map. Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning deep features for
discriminative localization", CVPR 2016; Sermanet et al., "OverFeat", 2013, for the sliding.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torchvision.ops import nms

from labsupport.core import modes
from labsupport.core.errors import BadSetting
from labsupport.core.images import checked_size
from labsupport.core.network import Box, Network, Pair, TargetLike
from labsupport.core.network.detectors import Detection
from labsupport.methods.saliency import box_of, largest_component

_MOST_OVERLAP = 0.3  # of the boxes of two things


def dense_scores(network: Network, images: Tensor, *, window: int = 1) -> Tensor:
    """The scores of every class at every position, (N, classes, h, w), on the CPU.

    For images (N, 3, H, W) of any size. The mean over all positions is exactly the network's
    score. `window` averages that many positions in each direction first: 13 is what SqueezeNet
    averages over an image of its own size, so each position is then the score of such a window
    (but for the border, where a window cut out would see zeros around it).

    Errors: `BadSetting` for a network whose head is no average over positions (AlexNet, VGG), or
    a window larger than the map.

    >>> from labsupport import images, networks
    >>> network, image = networks.load(), images.standard(images.sample("koala"))
    >>> scores = dense_scores(network, image)
    >>> scores.shape, torch.allclose(scores.mean((2, 3)), network(image).cpu(), atol=1e-4)
    (torch.Size([1, 1000, 13, 13]), True)
    """
    return _averaged(_scores(network, images, slice(None)), window)


def class_map(network: Network, images: Tensor, target: TargetLike) -> Tensor:
    """Where one class is seen: its score at every position, (N, h, w), on the CPU.

    Known as class activation map. The mean over the positions is exactly the class's score.

    Errors: as `dense_scores`; `UnknownClass`; `BadSetting` for a target that is no class.
    """
    wanted = network.target(target)
    if wanted.layer is not None:
        raise BadSetting(f"a class map is of a class, not of {wanted.title}")
    return _scores(network, images, slice(wanted.index, wanted.index + 1))[:, 0]


def mask_of(values: Tensor, image_size: Pair, *, share: float = 0.2) -> Tensor:
    """The pixels of an image (height, width) at which a map (h, w) is high, (height, width).

    The map is spread over the pixels bilinearly; high is `share` of its largest value.

    Errors: `BadSetting` for a map that is nowhere above zero.

    >>> mask_of(torch.tensor([[0.0, 1.0]]), (2, 4), share=0.5).int().tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    _check_map(values, share)
    size = checked_size(image_size)
    spread = F.interpolate(values[None, None].float(), size, mode="bilinear")[0, 0]
    return spread >= share * spread.max()


def class_box(values: Tensor, image_size: Pair, *, share: float = 0.2) -> Box:
    """The box (left, top, right, bottom) around the largest part of an image at which a class map
    (h, w) is high: Zhou et al.'s way from a map to a place, with their share.

    Errors: as `mask_of`.

    >>> class_box(torch.tensor([[0.0, 0.0], [0.0, 3.0]]), (100, 200), share=0.5)
    (100, 50, 200, 100)
    """
    return box_of(largest_component(mask_of(values, image_size, share=share)))


def detections(
    network: Network, image: Tensor, *, window: int = 13, threshold: float = 0.9
) -> tuple[Detection, ...]:
    """What is in one picture (1, 3, H, W), and where; the surest first.

    The classifier slides over the picture (`dense_scores` with this window); neighbouring windows
    whose first answer is the same class, with at least the probability `threshold`, are one thing.
    Its box is that of the class's own map inside these windows (`class_box`). A box that
    overlaps a surer one by more than 0.3 is dropped (non-maximum suppression).

    Errors: as `dense_scores`; `BadImage` for several pictures; `BadSetting` for a threshold
    outside 0 to 1.
    """
    network.check(image, one=True)
    if not 0 < threshold <= 1:
        raise BadSetting(f"threshold is a probability above 0 and up to 1, not {threshold}")
    single = _scores(network, image, slice(None))  # (1, classes, h, w)
    best, classes = _averaged(single, window)[0].softmax(0).max(0)
    size = (image.shape[2], image.shape[3])
    boxes = []
    for index in sorted(set(classes[best >= threshold].tolist())):
        for part in _parts((classes == index) & (best >= threshold)):
            box = _tightened(box_of(part), single[0, index], window, size)
            sure = float(best[part].max())
            boxes.append(Detection(network.categories[index], index, sure, box))
    if not boxes:
        return ()
    chances = torch.tensor([one.probability for one in boxes])
    places = torch.tensor([one.box for one in boxes], dtype=torch.float32)
    return tuple(boxes[number] for number in nms(places, chances, _MOST_OVERLAP).tolist())


# The head


def _scores(network: Network, images: Tensor, classes: slice) -> Tensor:
    """The scores of some classes at each position, before the average over positions."""
    network.check(images)
    source, linear = network.remember(("the head of class maps",), lambda: _head(network))
    with torch.no_grad():
        maps = network.part((source,))(network.send(images))[0]
        if linear is None:
            return maps[:, classes].cpu()  # type: ignore[no-any-return]
        weight: Tensor = linear.weight[classes]
        bias = None if linear.bias is None else linear.bias[classes]
        return F.conv2d(maps, weight[:, :, None, None], bias).cpu()


def _head(network: Network) -> tuple[fx.Node, nn.Linear | None]:
    """The maps that are averaged over their positions, and the linear layer after that, if any."""
    network.need_classes()
    network.need_graph("class maps")
    shapes = network.shapes(network.input_size)
    one, linear = network.operation(network.output), None
    while one.kind in {"flatten", "dropout", "identity"} or (one.kind == "linear" and not linear):
        if one.kind == "linear":
            if not isinstance(one.module, nn.Linear):
                break
            linear = one.module
        one = network.operation(one.inputs[0])
    if one.kind == "adaptive_pool" and shapes[one.node][2:] == (1, 1):
        return one.inputs[0], linear
    raise BadSetting(
        f"{network.name} has no class map: its scores are no average over positions, for fully "
        "connected layers mix the places. Take a network that ends in an average, such as "
        "squeezenet1_1, googlenet or resnet18"
    )


def _averaged(scores: Tensor, window: int) -> Tensor:
    height, width = scores.shape[2:]
    if not isinstance(window, int) or not 1 <= window <= min(height, width):
        raise BadSetting(
            f"a window is a whole number from 1 to {min(height, width)} here, the side of the map, "
            f"not {window!r}; a larger picture has a larger map"
        )
    return F.avg_pool2d(scores, window, stride=1)


# Places


def _check_map(values: Tensor, share: float) -> None:
    if values.ndim != 2 or not values.numel():
        raise BadSetting(f"a map is (h, w), this one is {tuple(values.shape)}: take one of them")
    if not 0 < share <= 1:
        raise BadSetting(f"share is above 0 and up to 1, not {share}")
    if not float(values.detach().max()) > 0:
        raise BadSetting("this map is nowhere above zero: the class is not seen in the picture")


def _parts(mask: Tensor) -> Iterator[Tensor]:
    """The connected parts of a mask (h, w), each a mask."""
    left = mask
    while bool(left.any()):
        part = largest_component(left)
        yield part
        left = left & ~part


def _tightened(windows: Box, values: Tensor, window: int, size: Pair) -> Box:
    """The place in pixels of what the map (h, w) of one class shows inside these windows."""
    left, top, right, bottom = windows
    right, bottom = right + window - 1, bottom + window - 1  # from windows to positions
    inside = values[top:bottom, left:right]
    step = (size[0] / values.shape[0], size[1] / values.shape[1])  # (rows, columns) in pixels
    pixels = (round((bottom - top) * step[0]), round((right - left) * step[1]))
    box = class_box(inside, pixels) if float(inside.max()) > 0 else (0, 0, pixels[1], pixels[0])
    shift = (round(left * step[1]), round(top * step[0]))
    return (box[0] + shift[0], box[1] + shift[1], box[2] + shift[0], box[3] + shift[1])


modes.keep(__name__)
