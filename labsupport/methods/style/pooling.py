"""A network with average pooling: every maximum replaced by a mean over the same window."""

from torch import fx
from torch.nn import functional

from labsupport.core.errors import BadSetting
from labsupport.core.network import Network, tracing
from labsupport.core.network.operations import Operation, argument, operation


def with_average_pooling(network: Network) -> Network:
    """The network with every max-pool replaced by an average over the same window.

    Gatys et al. found that it gives slightly more pleasing pictures. The weights are shared, the
    graph is a new one: the given network is not changed. It is no good classifier any more.
    """
    return network.remember("average pooling", lambda: _averaging(network))


def _averaging(network: Network) -> Network:
    whole = tracing.subgraph(network.graph, (network.output,))
    end = next(node for node in whole.graph.nodes if node.op == "output")
    ((scores,),) = end.args
    end.args = (scores,)
    for node in list(whole.graph.nodes):
        pool = operation(node, whole)
        if pool.kind == "max_pool":
            _replace(whole.graph, node, pool)
    whole.recompile()
    return network.copy(graph=whole, name=f"{network.name}, average pooling")


def _replace(graph: fx.Graph, node: fx.Node, pool: Operation) -> None:
    name = node.meta[tracing.LAYER_NAME]
    if pool.dilation != (1, 1):
        raise BadSetting(f"{name} pools with gaps (dilation): there is no such average pool")
    window = {"kernel_size": pool.kernel, "stride": pool.stride, "padding": pool.padding}
    overhang = bool(getattr(pool.module, "ceil_mode", argument(node, 5, "ceil_mode", False)))
    rest = {"ceil_mode": overhang, "count_include_pad": False}
    with graph.inserting_before(node):
        average = graph.call_function(functional.avg_pool2d, pool.inputs, {**window, **rest})
    average.meta = dict(node.meta)
    node.replace_all_uses_with(average)
    graph.erase_node(node)
