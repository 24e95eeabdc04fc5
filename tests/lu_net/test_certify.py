import copy
from typing import Any

import pytest
import torch

from common.bijections.base import Chain
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.bijections.registry import randomise
from common.flows.flow import Flow, StandardNormal
from common.metrics.certificate import certificate
from lu_net.batches import Items, noise
from lu_net.certify import CERTIFY, certify, worst_of
from lu_net.config import Model, Train
from lu_net.model import Bank, Stack
from lu_net.protocol import Evaluate
from tests.lu_net.invented import LEVELS, LU_NET, SIZES, images, model, points

CFG = Evaluate(certified=4, jacobians=2)


def one(
    error: float = 1e-6, integral: Any = 1.0, quadrature: float = 1e-9, items: int = 2
) -> dict[str, Any]:
    return {
        "round_trip": {
            "float32": {"max": error, "median": error / 10},
            "float64": {"max": error / 1e8, "median": error / 1e9},
        },
        "logdet": {"max_error": error / 1e6, "items": items},
        "density": {"integral": integral, "error": quadrature},
    }


def test_the_worst_of_one_certificate_is_itself():
    assert worst_of([one()]) == one()


def test_each_error_is_the_largest_and_items_add_up():
    bad = one(1e-6)
    bad["round_trip"]["float64"]["max"] = 0.5
    bad["logdet"]["items"] = 3
    found = worst_of([one(1e-5), bad, one(1e-7)])
    assert found["round_trip"]["float32"] == pytest.approx({"max": 1e-5, "median": 1e-6})
    assert found["round_trip"]["float64"]["max"] == 0.5
    assert found["logdet"] == {"max_error": pytest.approx(1e-11), "items": 7}


@pytest.mark.parametrize("order", [1, -1])
def test_an_integral_below_one_is_not_hidden_by_one_above(order: int):
    found = [one(integral=1.01, quadrature=1e-3), one(integral=0.9), one(integral=1.0)]
    # The quadrature's error goes with its integral, however small.
    assert worst_of(found[::order])["density"] == {"integral": 0.9, "error": 1e-9}
    found[0]["density"]["integral"] = 1.2
    assert worst_of(found[::order])["density"] == {"integral": 1.2, "error": 1e-3}


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_not_finite_is_worse_than_any_number(order: int):
    bad = one(integral="not finite")
    bad["round_trip"]["float32"]["max"] = bad["logdet"]["max_error"] = "not finite"
    found = worst_of([bad, one(1e9, integral=1e9)][::order])
    assert found["round_trip"]["float32"]["max"] == "not finite"
    assert found["round_trip"]["float32"]["median"] == 1e8
    assert found["logdet"]["max_error"] == "not finite"
    assert found["density"]["integral"] == "not finite"


@pytest.mark.parametrize("order", [1, -1])
def test_a_solver_s_failure_stays(order: int):
    bad = one()
    failure = {"error": "LeakySoftplus inverse: residual nan"}
    bad["round_trip"]["float32"] = bad["logdet"] = bad["density"] = failure
    found = worst_of([bad, one(integral="not finite"), one()][::order])
    assert found["round_trip"]["float32"] == failure
    assert found["round_trip"]["float64"] == one()["round_trip"]["float64"]
    assert found["logdet"] == failure
    assert found["density"] == failure


def test_models_one_by_one_are_certified_as_their_worst():
    data = images(shape=(4,))
    flows = []
    for k in range(len(SIZES)):
        links = [Rescale(LEVELS), Logit(1e-5), LULinear(4), LeakySoftplus(), LULinear(4)]
        flows.append(Flow(StandardNormal((4,)), randomise(Chain(links), k)))
    bank = Bank(flows, (4,)).double().eval()
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
