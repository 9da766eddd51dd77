"""How a picture is painted, as values: layers, weights, colours, optimizer, and the pooling."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch.nn import functional

from labsupport.core.errors import BadSetting, UnknownLayer, one_of
from labsupport.core.network import Network, graphs, rewrites
from labsupport.core.network.operations import Operation, operation
from labsupport.methods.optimize import LBFGS, Optimizer, Parameterization, Pixels

COLOURS = ("style", "luminance", "matched")
POOLING = ("max", "average")
STARTS = ("content", "style", "noise", "grey")
_STYLE_LAYERS = {"relu1": 1.0, "fire3": 1.0, "fire4": 1.0, "fire5": 1.0}
_NOISE = 0.15  # the standard deviation of a start from noise


@dataclass(frozen=True)
class StyleRecipe:
    """How a picture is painted.

    `content_layers` and `style_layers` are layers with their weights. `alpha` and `beta` weigh the
    two halves, `tv` the total variation. `mix` weighs several styles (equal if empty). `colours`
    says whose they are: "style", or the content's own, kept by painting the "luminance" alone or by
    giving the style "matched" colours first (Gatys et al. 2016, "Preserving color in neural
    artistic style transfer"). `pooling` "average" replaces the network's max-pools, as the paper
    does. `parameterization` is what the steps move, the pixels or a spectrum behind them.

    Errors: `BadSetting` where a value cannot work.
    """

    content_layers: Mapping[str, float] = field(default_factory=lambda: {"fire4": 1.0})
    style_layers: Mapping[str, float] = field(default_factory=lambda: dict(_STYLE_LAYERS))
    alpha: float = 1.0
    beta: float = 4.0
    tv: float = 5.0
    mix: tuple[float, ...] = ()
    colours: str = "style"
    pooling: str = "max"
    parameterization: Parameterization = field(default_factory=lambda: Pixels(_NOISE))
    optimizer: Optimizer = field(default_factory=lambda: LBFGS(0.02))
    steps: int = 120

    def __post_init__(self) -> None:
        one_of(self.colours, COLOURS, "colours")
        one_of(self.pooling, POOLING, "pooling")
        weights = {"alpha": self.alpha, "beta": self.beta, "tv": self.tv}
        for layers in (self.content_layers, self.style_layers):
            weights |= {f"the weight of {layer}": weight for layer, weight in layers.items()}
        for name, weight in weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise BadSetting(f"{name} is 0 or more, not {weight}")
        if not self.layers:
            raise BadSetting("nothing is asked for: alpha and beta, or all layers' weights, are 0")

    @property
    def content_weights(self) -> dict[str, float]:
        """The content layers that count, with alpha in their weights."""
        return _weighed(self.alpha, self.content_layers)

    @property
    def style_weights(self) -> dict[str, float]:
        """The style layers that count, with beta in their weights."""
        return _weighed(self.beta, self.style_layers)

    @property
    def layers(self) -> list[str]:
        """All layers that count."""
        return [*self.content_weights, *self.style_weights]


def _weighed(whole: float, layers: Mapping[str, float]) -> dict[str, float]:
    return {layer: whole * weight for layer, weight in layers.items() if whole * weight > 0}


SQUEEZENET = StyleRecipe()
# The paper's layers, each after its ReLU as in the authors' code; its weights w_l are a fifth each.
# It leaves out the total variation, and the style's own norm: alpha / beta is another number there.
GATYS = StyleRecipe(
    content_layers={"relu4_2": 1.0},
    style_layers={f"relu{block}_1": 0.2 for block in range(1, 6)},
    beta=20.0,
    tv=3.0,
    pooling="average",
    optimizer=LBFGS(0.02, history=20),
    steps=150,
)


def recipe_for(network: Network) -> StyleRecipe:
    """`SQUEEZENET` for a SqueezeNet, `GATYS` for a VGG; else like it, at layers about as deep.

    >>> from labsupport import networks
    >>> recipe_for(networks.load("squeezenet1_1")) is SQUEEZENET
    True
    """
    for known in (SQUEEZENET, GATYS):
        with contextlib.suppress(UnknownLayer):
            for layer in known.layers:
                network.node(layer)
            return known
    maps = [layer.name for layer in network.layers if layer.kind in ("relu", "concat")]
    maps = maps or [layer.name for layer in network.layers if layer.has_map]
    if not maps:
        raise BadSetting(f"{network.name} has no layer with a map, so it sees no style")
    depths = (0.0, 0.15, 0.3, 0.45)
    names = [maps[round(depth * (len(maps) - 1))] for depth in depths]
    weights = dict.fromkeys(names, 1.0)
    return replace(SQUEEZENET, content_layers={names[1]: 1.0}, style_layers=weights)


# A network with average pooling: every maximum replaced by a mean over the same window


def with_average_pooling(network: Network) -> Network:
    """The network with every max-pool replaced by an average over the same window.

    Gatys et al. found that it gives slightly more pleasing pictures. The weights are shared, the
    graph is a new one: the given network is not changed. It is no good classifier any more.
    """
    network.need_graph("other pools")
    return network.remember("average pooling", lambda: _averaging(network))


def _averaging(network: Network) -> Network:
    whole = graphs.subgraph(network.graph, (network.output,))
    end = next(node for node in whole.graph.nodes if node.op == "output")
    ((scores,),) = end.args
    end.args = (scores,)
    for node in list(whole.graph.nodes):
        pool = operation(node, whole)
        if pool.kind == "max_pool":
            _to_average(pool)
    whole.recompile()
    return network.copy(graph=whole, name=f"{network.name}, average pooling")


def _to_average(pool: Operation) -> None:
    if pool.dilation != (1, 1):
        name = pool.node.meta[graphs.LAYER_NAME]
        raise BadSetting(f"{name} pools with gaps (dilation): there is no such average pool")
    rewrites.replace(
        pool.node,
        functional.avg_pool2d,
        pool.inputs,
        kernel_size=pool.kernel,
        stride=pool.stride,
        padding=pool.padding,
        ceil_mode=pool.ceil_mode,
        count_include_pad=False,
    )
