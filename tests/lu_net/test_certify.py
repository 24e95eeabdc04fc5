import copy

import pytest
import torch

from common.bijections.base import Chain
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.bijections.registry import randomise
from common.flows.flow import Flow, StandardNormal
from common.metrics.certificate import certificate
from lu_net.batches import Items, noise
from lu_net.certify import CERTIFY, certify
from lu_net.config import Model, Train
from lu_net.model import Bank, Stack
from lu_net.protocol import Evaluate
from tests.lu_net.invented import LEVELS, LU_NET, SIZES, images, model, points

CFG = Evaluate(certified=4, jacobians=2)


def test_models_one_by_one_are_certified_as_their_worst():
    data = images(shape=(4,))
    flows = []
    for k in range(len(SIZES)):
        links = [Rescale(LEVELS), Logit(1e-5), LULinear(4), LeakySoftplus(), LULinear(4)]
        flows.append(Flow(StandardNormal((4,)), randomise(Chain(links), k)))
    bank = Bank(flows).double().eval()
    found = certify(bank, LU_NET, CFG, data)
    items = Items.of(data, data.test, True, torch.device("cpu"))
    index = torch.arange(CFG.certified).expand(len(SIZES), -1)
    x = items.take(index, torch.float64, noise(torch.device("cpu"), CFG.seed, CERTIFY))
    single = [certificate(flow, x[k], jacobian_items=2) for k, flow in enumerate(bank.each)]
    for dtype in ("float32", "float64"):
        for key in ("max", "median"):
            largest = max(s["round_trip"][dtype][key] for s in single)
            assert found["round_trip"][dtype][key] == largest
    assert found["logdet"]["max_error"] == max(s["logdet"]["max_error"] for s in single)
    assert found["logdet"]["items"] == 2 * len(SIZES)
    # float64, and a well-conditioned flow: rounding, times a safe factor.
    assert found["round_trip"]["float64"]["max"] < 1e-11
    assert found["logdet"]["max_error"] < 1e-11
    assert "smallest_abs_diagonal" not in found


def test_stacked_models_are_certified_together_with_their_diagonals():
    data = images()
    bank = model(LU_NET, data)
    assert isinstance(bank, Stack)
    with torch.no_grad():
        bank.layers()[1].packed[2, 3, 3] = -1e-3
    before = copy.deepcopy(bank.tensors())
    found = certify(bank, LU_NET, CFG, data)
    assert found["smallest_abs_diagonal"] == pytest.approx(1e-3)
    assert found["logdet"]["items"] == 2 * len(SIZES)
    assert found["round_trip"]["float64"]["max"] < 1e-10  # rounding, times 1 / 1e-3
    assert "density" not in found
    for name, tensor in bank.tensors().items():
        assert torch.equal(tensor, before[name])


def test_without_jacobians_there_are_still_round_trips():
    data = images()
    found = certify(model(LU_NET, data), LU_NET, Evaluate(certified=4, jacobians=0), data)
    assert found["round_trip"]["float64"]["max"] < 1e-11
    assert found["logdet"] == {"items": 0}


def test_more_certified_items_than_a_class_has_repeat_its_own():
    data = images()
    found = certify(model(LU_NET, data), LU_NET, Evaluate(certified=20, jacobians=1), data)
    assert found["round_trip"]["float64"]["max"] < 1e-11


def test_points_get_the_integral_of_their_density():
    data = points()
    trained = Train(Model("gaussian", per_class=False), dtype="float64")
    bank = model(trained, data)
    assert isinstance(bank, Stack)
    (layer,) = bank.layers()
    with torch.no_grad():
        # N(data mean, I): the box holds all of it but what lies six deviations out, 4e-9.
        layer.packed.copy_(torch.eye(2))
        layer.bias.copy_(-data.train.x.mean(0))
    found = certify(bank, trained, CFG, data)
    assert found["density"]["integral"] == pytest.approx(1, abs=1e-8)
