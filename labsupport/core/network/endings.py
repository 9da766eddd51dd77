"""What a classifier ends in: scores, probabilities or one logit. Here all end in scores.

A softmax, its logarithm or a sigmoid at the end is left out, so that what goes into it are the
scores; probabilities that came about in another way are replaced by their logarithms, and one logit
z by the scores (0, z) of two classes, of which softmax makes the sigmoid of z.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from labsupport.core.network.constants import Values
from labsupport.core.network.graphs import LAYER_NAME
from labsupport.core.network.recorder import SHAPE
from labsupport.core.network.spelling import given_to, word_of

_SQUASHING = {nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax", nn.Sigmoid: "sigmoid"}
_UNCHANGED = {"squeeze", "unsqueeze", "flatten", "view", "reshape", "detach", "contiguous"}


@dataclass(frozen=True)
class Ending:
    """What was done to the end of a graph."""

    squashed: str = ""  # "softmax", "log_softmax", "sigmoid", or "logarithm" of probabilities
    one_logit: bool = False

    def own_answer(self, scores: torch.Tensor) -> torch.Tensor:
        """What the module itself gives where the graph gives these scores (N, classes)."""
        scores = scores[:, 1:] if self.one_logit else scores
        if self.squashed == "softmax":
            return scores.softmax(1)
        if self.squashed == "log_softmax":
            return scores.log_softmax(1)
        if self.squashed == "sigmoid":
            return scores.sigmoid()
        return scores.exp() if self.squashed == "logarithm" else scores

    def scores(self, answer: torch.Tensor) -> torch.Tensor:
        """The scores (N, classes) of a module that gives this answer, and that no graph shows."""
        if self.squashed == "logarithm":
            answer = logarithm(answer)
        return two_scores(answer) if self.one_logit else answer

    def notes(self) -> tuple[str, ...]:
        """The same in words."""
        told = []
        if self.squashed == "logarithm":
            told.append("it gives probabilities: their logarithms are its scores here")
        elif self.squashed:
            words = f"it ends in a {self.squashed}: what goes into that are its scores here"
            if self.squashed == "sigmoid" and not self.one_logit:
                words += ", and probabilities add up to 1 (it says yes or no to each class)"
            told.append(words)
        if self.one_logit:
            told.append("it gives one logit z: its scores here are (0, z), for two classes")
        return tuple(told)


def are_probabilities(answer: torch.Tensor) -> bool:
    """Whether each row (N, classes) sums to 1."""
    sums = answer.sum(1)
    inside = bool(((answer >= 0) & (answer <= 1)).all())
    return answer.shape[1] > 1 and inside and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)


def ending_of(answer: torch.Tensor, *, probabilities: bool) -> Ending:
    """What is to be done to the answer (N, classes) of a module that no graph shows."""
    return Ending("logarithm" if probabilities else "", answer.shape[1] == 1)


def end_in_scores(graph: fx.Graph, values: Values, *, probabilities: bool) -> Ending:
    """Rewrite the end of a recorded graph, in place.

    `probabilities` says that its rows sum to 1 whatever it ends in.
    """
    output = next(node for node in graph.nodes if node.op == "output")
    (end,) = output.all_input_nodes
    one_logit = end.meta[SHAPE][-1] == 1
    chain = [end]
    while not (squashed := _squashed(chain[-1], values)) and _hands_on(chain[-1], values):
        chain.append(chain[-1].all_input_nodes[0])
    if squashed:
        *after, squashing = chain
        source = squashing.all_input_nodes[0]
        [output, *after][-1].replace_input_with(squashing, source)
    elif probabilities and not one_logit:
        squashed = "logarithm"
        _append(graph, output, logarithm)
    if one_logit:
        _append(graph, output, two_scores)
    return Ending(squashed, one_logit)


def _squashed(node: fx.Node, values: Values) -> str:
    """The name of the function that makes probabilities of scores, "" where it is another."""
    if node.op == "call_module":
        layer = values[str(node.target)]
        word, dim = _SQUASHING.get(type(layer), ""), getattr(layer, "dim", 1)
    else:
        word, dim = word_of(node), given_to(node, "input", "dim")["dim"]
    fits = word == "sigmoid" or (word.endswith("softmax") and dim in (1, -1, None))
    return word if fits and len(node.meta[SHAPE]) == 2 else ""


def _hands_on(node: fx.Node, values: Values) -> bool:
    if node.op == "call_module":
        return isinstance(values[str(node.target)], nn.Identity | nn.Dropout | nn.Flatten)
    return word_of(node) in _UNCHANGED


def _append(graph: fx.Graph, output: fx.Node, function: Any) -> None:
    (end,) = output.all_input_nodes
    with graph.inserting_before(output):
        new = graph.call_function(function, (end,))
    new.meta = {**end.meta, LAYER_NAME: function.__name__}
    output.args = (new,)


def logarithm(probabilities: torch.Tensor) -> torch.Tensor:
    """Scores whose softmax the probabilities are.

    >>> logarithm(torch.tensor([[0.25, 0.75]])).softmax(1)
    tensor([[0.2500, 0.7500]])
    """
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def two_scores(logit: torch.Tensor) -> torch.Tensor:
    """(N, 1) as the scores (N, 2) of a class without and a class with it.

    >>> two_scores(torch.tensor([[3.0]]))
    tensor([[0., 3.]])
    """
    return torch.cat([torch.zeros_like(logit), logit], 1)
