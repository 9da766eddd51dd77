"""Which units change between two pictures, and which classes a unit speaks for."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network, Target, TargetLike, graphs
from labsupport.methods.activations.correlations import pooled_means

# Two pictures


@dataclass(frozen=True)
class UnitChanges:
    """How strongly each unit of a layer answers to two pictures: `first` and `second` (C,), the
    mean over its map; `order` (C,) has the units that changed most first."""

    layer: str
    first: Tensor
    second: Tensor

    @property
    def change(self) -> Tensor:
        """Second minus first, (C,)."""
        return self.second - self.first

    @property
    def order(self) -> Tensor:
        return self.change.abs().argsort(descending=True, stable=True)


def unit_changes(network: Network, first: Tensor, second: Tensor, layer: str) -> UnitChanges:
    """Which units of a layer change most between two pictures, each (1, 3, H, W), of any sizes.

    Errors: `UnknownLayer`, `BadImage`.
    """
    for image in (first, second):
        network.check(image, one=True)
    alike = first.shape == second.shape  # then one pass is enough
    batches = [torch.cat([first, second])] if alike else [first, second]
    parts = [pooled_means(network.activations(one, [layer])[layer]) for one in batches]
    return UnitChanges(network.layer(layer).name, *torch.cat(parts))


# The classes that a unit speaks for


@dataclass(frozen=True)
class Votes:
    """What the scores (N, classes) lose when a unit is silenced: `clean` minus `silenced`.

    Above zero the unit speaks for a class in this picture, below zero against it.
    """

    target: Target
    clean: Tensor
    silenced: Tensor

    @property
    def values(self) -> Tensor:
        """The votes, (N, classes)."""
        return self.clean - self.silenced


def class_votes(network: Network, images: Tensor, unit: TargetLike) -> Votes:
    """Which classes a unit speaks for in images (N, 3, H, W): set its map to zero and see which
    scores (before softmax) fall.

    `unit` is (layer, channel), or (layer, channel, position) for a single neuron. After a unit
    everything is linear only in the last layer; elsewhere this is what the unit does here,
    with all others at work.

    Errors: `UnknownLayer`; `BadSetting` for a class, or a channel or position that is not there;
    `BadImage`.
    """
    network.need_classes()
    network.need_graph("the votes of a unit")
    network.check(images)
    network = network.at((images.shape[2], images.shape[3]))
    target = checked_unit(network, unit)
    if target.position is not None:
        network.placed(target, (images.shape[2], images.shape[3]))
    with torch.no_grad():
        pixels = network.send(images.detach())
        clean = network.part((network.output,))(pixels)[0]
        node = network.node_of(target)
        part = network.remember(("silencing", node), lambda: _silencing(network, node))
        silenced = part(pixels, target)[0]
    return Votes(target, clean.float().cpu(), silenced.float().cpu())


def _silencing(network: Network, node: fx.Node) -> nn.Module:
    """(images, target) -> (scores,), with the target's activations at this node set to zero."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for one in network.graph.graph.nodes:
        if one.op == "output":
            graph.output((copies[network.output],))
            continue
        copies[one] = graph.node_copy(one, copies.__getitem__)
        if one.op == "placeholder":
            target = graph.placeholder("target")
        if one is node:
            copies[one] = graph.call_function(_without, (copies[one], target))
    part = fx.GraphModule(network.graph, graph)
    return graphs.OneByOne(part) if network.one_by_one else part


def _without(activations: Tensor, target: Target) -> Tensor:
    changed = activations.clone()
    changed[(slice(None), target.index, *(target.position or ()))] = 0
    return changed


def checked_unit(network: Network, unit: TargetLike) -> Target:
    """A unit, (layer, channel) or (layer, channel, position), checked: no class.

    Errors: `BadSetting`, `UnknownLayer`.
    """
    target = network.target(unit)
    if target.layer is None:
        raise BadSetting(
            f"{target} is a class; a unit is (layer, channel), for example "
            f"({network.layers[-1].title!r}, {target.index})"
        )
    return target
