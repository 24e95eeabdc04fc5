import copy
from typing import Any

from common.metrics.worst import worst_of

FAILED = {"error": "ODE: step 0.0e+00"}


def certificate(single: float, double: float, logdet: float, integral: float | None) -> Any:
    found = {
        "round_trip": {
            "float32": {"max": single, "median": single / 10},
            "float64": {"max": double, "median": double / 10},
        },
        "logdet": {"max_error": logdet, "items": 5},
    }
    if integral is not None:
        found["density"] = {"integral": integral, "error": 1e-6}
    return found


def test_one_certificate_is_its_own_worst():
    one = certificate(1e-5, 1e-14, 1e-13, 0.99)
    assert worst_of([one]) == one


def test_each_entry_comes_from_the_model_that_fares_worst_in_it_and_items_add_up():
    found = [certificate(1e-5, 3e-14, 1e-13, 1.0), certificate(2e-5, 1e-14, 2e-12, 0.98)]
    before = copy.deepcopy(found)
    worst = worst_of(found)
    assert worst["round_trip"] == certificate(2e-5, 3e-14, 0, None)["round_trip"]
    assert worst["logdet"] == {"max_error": 2e-12, "items": 10}
    assert worst["density"]["integral"] == 0.98
    assert found == before


def test_an_integral_above_one_may_be_the_worst():
    found = [certificate(0, 0, 0, 0.99), certificate(0, 0, 0, 1.02)]
    assert worst_of(found)["density"]["integral"] == 1.02


def test_vectors_of_more_dimensions_have_no_integral():
    assert "density" not in worst_of([certificate(0, 0, 0, None)] * 2)


def test_what_is_not_finite_is_worse_than_any_number():
    bad = certificate(0, 0, 0, 0.5)
    bad["round_trip"]["float32"]["max"] = "not finite"
    bad["logdet"]["max_error"] = "not finite"
    bad["density"]["integral"] = "not finite"
    for order in (1, -1):
        worst = worst_of([certificate(1.0, 1.0, 1.0, 0.0), bad][::order])
        assert worst["round_trip"]["float32"] == {"max": "not finite", "median": 0.1}
        assert worst["logdet"] == {"max_error": "not finite", "items": 10}
        assert worst["density"]["integral"] == "not finite"


def test_a_solver_s_failure_is_worse_than_anything():
    bad, infinite = certificate(0, 0, 0, 1.0), certificate(0, 0, 0, 1.0)
    bad["round_trip"]["float64"] = FAILED
    bad["logdet"] = FAILED
    bad["density"] = FAILED
    infinite["density"]["integral"] = "not finite"
    for order in (1, -1):
        worst = worst_of([infinite, bad][::order])
        assert worst["round_trip"]["float64"] == FAILED
        assert worst["round_trip"]["float32"]["max"] == 0
        assert worst["logdet"] == FAILED
        assert worst["density"] == FAILED


def test_a_certificate_of_round_trips_alone_counts_no_items():
    found = certificate(1e-5, 1e-14, 0, None)
    found["logdet"] = {"items": 0}
    assert worst_of([found, copy.deepcopy(found)])["logdet"] == {"items": 0}
