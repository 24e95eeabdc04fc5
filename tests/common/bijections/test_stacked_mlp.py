import torch
from torch.nn import functional as F

from common.bijections.stacked_mlp import StackedMLP


def test_each_model_is_a_chain_of_linear_layers_with_relu():
    net = StackedMLP(3, 2, width=5, hidden=2, models=(2,)).double()
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for k in range(2):
        h = x[k]
        for place, layer in enumerate(net.layers):
            h = F.linear(h, layer.weight[k], layer.bias[k])
            h = h.relu() if place < 2 else h
        torch.testing.assert_close(net(x)[k], h)


def test_its_layers_have_the_given_sizes():
    assert repr(StackedMLP(3, 2, width=5, hidden=2)) == "StackedMLP(3 -> 5 -> 5 -> 2)"
    assert len(StackedMLP(3, 2, width=5, hidden=0).layers) == 1
