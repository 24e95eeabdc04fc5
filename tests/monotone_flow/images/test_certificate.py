import pytest
import torch

from monotone_flow.images.certificate import certificate, exact_norm
from monotone_flow.images.lipschitz import LipschitzConv2d, LipschitzLinear, update_norms
from monotone_flow.images.nets import PlainNet
from monotone_flow.images.power_iteration import Published, RelativeChange
from tests.monotone_flow.images.small import SHAPE, SMALL, dense_block, normal, seeded, settle


def saturated(*shape, seed=0):
    layer = LipschitzConv2d(*shape, generator=seeded(seed)).double()
    with torch.no_grad():
        layer.weight.mul_(20)
    return layer


def test_lanczos_and_the_written_out_operator_agree():
    layer = saturated(5, 3, (16, 16))  # 1280 inputs, above the limit
    units = torch.eye(1280, dtype=torch.float64).reshape(-1, 5, 16, 16)
    matrix = layer.operate(units, layer.normalised()).flatten(1)
    expected = torch.linalg.matrix_norm(matrix, 2).item()
    # Nine digits of the squared norm.
    assert exact_norm(layer) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
def test_a_settled_convolution_keeps_its_coefficient(size):
    layer = settle(saturated(5, 3, size))
    assert exact_norm(layer) == pytest.approx(0.98, rel=1e-6)


def test_a_linear_layer_has_the_norm_of_its_matrix():
    layer = settle(LipschitzLinear(4, 6, 0.9, seeded()).double())
    expected = torch.linalg.matrix_norm(layer.normalised(), 2).item()
    assert exact_norm(layer) == pytest.approx(expected)


def test_the_published_stop_rule_lets_new_convolutions_exceed_one():
    layer = saturated(48, 24, (16, 16))
    excess = {}
    for stop in (Published(), RelativeChange(), RelativeChange(1e-4)):
        layer.load_state_dict(saturated(48, 24, (16, 16)).state_dict())
        update_norms(layer, stop)
        excess[stop] = exact_norm(layer) / 0.98
    published, loose, tight = excess.values()
    assert published > 1.05
    assert 1 < tight < 1.01 < loose < 1.05


def test_a_certificate_tells_a_promise_from_what_is_kept():
    net = SMALL.image(SHAPE, False, seeded()).double()
    with torch.no_grad():
        for layer in (*net.hidden, net.last):
            layer.weight.mul_(20)
    (broken,) = certificate(torch.nn.Sequential(net))
    assert broken.name == "0"
    assert broken.promised == pytest.approx(0.98**3)
    assert broken.bound > broken.promised
    assert set(broken.norms) == {"hidden.0", "hidden.1", "last"}
    (kept,) = certificate(settle(net))
    assert kept.bound == pytest.approx(kept.promised, rel=1e-6)


def test_the_bound_holds_for_the_network():
    block = dense_block("residual")
    (found,) = certificate(block)
    assert found.name == "net"
    x, y = normal(50, *SHAPE), normal(50, *SHAPE, seed=1)
    ratio = (block.net(x) - block.net(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert ratio.max() <= found.bound


def test_a_linear_network_reaches_its_certificate():
    layer = settle(saturated(1, 1, (4, 4)))
    net = PlainNet([layer], []).double()
    v = layer.v / layer.v.norm()
    reached = (net(v) - net(torch.zeros_like(v))).norm().item()
    (found,) = certificate(net)
    assert reached == pytest.approx(found.bound, rel=1e-6)
