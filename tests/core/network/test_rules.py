"""The ReLUs that follow a rule: the slide's example, and every way to write a ReLU."""

import pytest
import torch
import toys
from torch import nn
from torch.nn import functional as F

from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.core.network import rules

# Springenberg et al. 2014, figure 1: what came into the ReLU, and what arrives from above
F_IN = torch.tensor([[1.0, -1, 5], [2, -5, -7], [-3, 2, 4]])
ABOVE = torch.tensor([[-2.0, 3, -1], [6, -3, 1], [2, -1, 3]])
BELOW = {
    "backprop": [[-2.0, 0, -1], [6, 0, 0], [0, -1, 3]],
    "deconvnet": [[0.0, 3, 0], [6, 0, 1], [2, 0, 3]],
    "guided": [[0.0, 0, 0], [6, 0, 0], [0, 0, 3]],
}
AT_ZERO = {"backprop": [0.0], "deconvnet": [1.0], "guided": [0.0]}
BELOW_SIX = {
    "backprop": [0.0, 2, 0, 0, -5],
    "deconvnet": [1.0, 2, 3, 4, 0],
    "guided": [0.0, 2, 0, 0, 0],
}


def passed_back(x: torch.Tensor, ceiling: float | None, rule: str, above: torch.Tensor):
    """What a ReLU with a rule gives for x, and what of `above` arrives below it."""
    x = x.clone().requires_grad_()
    y = (
        rules._relu_with_rule(x, ceiling, rules.GradientRule(rule))
        if ceiling
        else rules.relu(x, rule)
    )
    return y, torch.autograd.grad(y, x, above)[0].tolist()


@pytest.mark.parametrize("rule", rules.RULES)
def test_the_slides_example_and_the_formulas(rule):
    y, below = passed_back(F_IN, None, rule, ABOVE)
    assert torch.equal(y, F_IN.clamp(min=0))
    assert below == BELOW[rule]
    assert passed_back(torch.zeros(1), None, rule, torch.ones(1))[1] == AT_ZERO[rule]
    x, above = torch.tensor([-1.0, 3, 6, 7, 3]), torch.tensor([1.0, 2, 3, 4, -5])
    assert passed_back(x, 6.0, rule, above)[1] == BELOW_SIX[rule]


def test_an_unknown_rule_is_refused_with_the_nearest():
    toys.assert_refused(
        ("BadSetting: .*'guided'", rules.relu, torch.zeros(1), "guide"),
        ("BadSetting: .*at least one", rules._check_rules, ()),
        ("BadSetting: .*at least one", rules._check_rules, "guided"),
    )


WAYS = {  # the operations know more; here are those that a rule reads differently
    "module": lambda self, x: self.relu(x),
    "in-place module": lambda self, x: self.in_place(x),
    "function": lambda self, x: F.relu(x),
    "underscore method": lambda self, x: x.relu_(),
    "clamp": lambda self, x: x.clamp(min=0),
    "clamp in place": lambda self, x: x.clamp_(0),
    "torch's clamp": lambda self, x: torch.clamp(x, min=0.0),
    "clamp_min": lambda self, x: x.clamp_min(0),
}
WAYS_TO_SIX = {
    "module": lambda self, x: self.relu6(x),
    "function": lambda self, x: F.relu6(x),
    "clamp": lambda self, x: torch.clamp(x, 0, 6),
}


class Twice(nn.Module):
    """Two convolutions, a ReLU behind each, written in any way; one module serves twice."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
        self.relu, self.in_place, self.relu6 = nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.way(self, self.first(x))
        x = self.way(self, self.second(x))
        return self.head(x.mean((2, 3)))


def built(way, *, wide: float = 1.0) -> networks.Network:
    module = toys.seeded(lambda: Twice(way))
    module.first.weight.data *= wide
    return networks.wrap(module, input_size=9)


def passed(network: networks.Network, rule: str):
    """The scores, a gradient at the image, and how many ReLUs follow the rule."""
    part = rules.part_with_rules(network, network.output, (rule,))
    image = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
    scores = part(image, rules.GradientRule(rule))
    return scores.detach(), torch.autograd.grad(scores[:, 0].sum(), image)[0], part.relus


def same_by_every_way(ways, rule, **settings):
    """All ways to write a ReLU pass the same on: the first one's result."""
    scores, gradient, _ = passed(built(ways["module"], **settings), rule)
    for name, way in ways.items():
        result = passed(built(way, **settings), rule)
        torch.testing.assert_close(result[0], scores, msg=name)
        torch.testing.assert_close(result[1], gradient, msg=name)
        assert result[2] == 2, name
    return gradient


@pytest.mark.parametrize("rule", rules.RULES)
def test_every_way_to_write_a_relu_is_the_same(rule):
    same_by_every_way(WAYS, rule)


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_relu6_also_stops_what_is_above_six(rule):
    """Against the traced network's own gradient where gradients are plain."""
    result = same_by_every_way(WAYS_TO_SIX, rule, wide=30)
    if rule == "backprop":
        image = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
        scores = built(WAYS_TO_SIX["module"], wide=30)(image)
        torch.testing.assert_close(result, torch.autograd.grad(scores[:, 0].sum(), image)[0])


def test_a_network_without_relus_has_only_the_plain_rule():
    for way in (
        lambda self, x: x.clamp(min=0.1),
        lambda self, x: x.clamp(-1, 1),
        lambda self, x: x.clamp(max=0),
        lambda self, x: torch.tanh(x),
    ):
        network = built(way)
        assert passed(network, "backprop")[2] == 0
        for rule in ("deconvnet", "guided"):
            with pytest.raises(BadSetting, match=r"has no ReLU.*rule='backprop'"):
                passed(network, rule)


class Whole(nn.Module):
    """A transformer's layer, which the graph keeps whole, with a ReLU inside."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.relu(self.first(x)).flatten(2).transpose(1, 2)
        return self.head(self.layer(x).mean(1))


def test_a_relu_that_cannot_be_reached_is_no_silent_matter():
    network = networks.wrap(Whole().eval(), input_size=9)
    assert passed(network, "backprop")[2] == 1
    with pytest.raises(BadSetting, match="ReLU inside"):
        passed(network, "guided")
