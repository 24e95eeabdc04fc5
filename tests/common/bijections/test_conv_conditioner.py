import torch
from torch import nn

from common.bijections.conv_conditioner import NEAR_ZERO, ConvConditioner


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def conditioner(**options):
    return ConvConditioner(2, 6, 8, 3, **({"generator": seeded()} | options))


def test_the_layers_are_the_published_ones():
    net = conditioner(dropout=0.2)
    kernels = [m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(1, 1), *[(3, 3)] * 6, (1, 1)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [norm.eps for norm in norms] == [1e-3] * 6
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.2] * 3
    weights = 2 * 8 + 6 * 9 * 8 * 8 + 8 * 6
    biases_and_norms = 7 * 8 + 6 + 6 * 2 * 8
    assert sum(p.numel() for p in net.parameters()) == weights + biases_and_norms


def test_blocks_start_near_the_identity():
    for block in conditioner().blocks:
        for parameter in block.second.parameters():
            assert 0 < parameter.abs().max() <= NEAR_ZERO
        assert block.first.weight.abs().max() > 10 * NEAR_ZERO


def test_the_weights_are_a_function_of_the_generator():
    first, again, other = (conditioner(generator=seeded(s)).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["last.weight"], other["last.weight"])


def test_a_constant_output_depends_on_no_input():
    net = conditioner().eval()
    values = torch.arange(6.0)
    net.give_constant(values)
    out = net(torch.randn(3, 2, 4, 4, generator=seeded()))
    assert torch.equal(out, values.reshape(6, 1, 1).expand(3, 6, 4, 4))


def test_leading_dimensions_are_batch_and_may_be_empty():
    net = conditioner().eval()
    assert net(torch.zeros(2, 3, 2, 4, 5)).shape == (2, 3, 6, 4, 5)
    assert net(torch.zeros(0, 2, 4, 5)).shape == (0, 6, 4, 5)


def test_dropout_and_norms_act_in_training_only():
    x = torch.randn(3, 2, 4, 4, generator=seeded())
    net = conditioner(dropout=0.5, batch_norm=False)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_the_printed_network_has_one_line():
    expected = "ConvConditioner(2 -> 6 channels, 3 blocks of 8 planes, batch_norm=True)"
    assert repr(conditioner()) == expected
