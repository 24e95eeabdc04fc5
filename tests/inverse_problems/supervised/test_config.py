"""Parameters are read strictly, and phases follow one another."""

import pytest

from common.errors import UserError
from inverse_problems.supervised.config import Weights
from tests.inverse_problems.supervised.small import training


def test_phases_follow_one_another():
    cfg = training()
    assert (cfg.epochs, cfg.steps) == (6, 12)
    assert [cfg.at(step)[0] for step in (0, 5, 6, 11)] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert cfg.at(0)[1] == Weights(y=1.0, z=50.0, rec=1.0)
    with pytest.raises(ValueError, match="the training has 12 steps, got step 12"):
        cfg.at(12)


def test_the_ramp_is_the_published_one():
    cfg = training()
    factors = [cfg.at(step)[1].x / 250 for step in (6, 8, 10)]
    assert factors == pytest.approx([2 * 0.002 ** (1 - e / 3) for e in range(3)])
    long = training(phases=[{"epochs": 50, "lr": 1.0, "ramp": True, "weights": {"x": 400.0}}])
    assert long.at(2 * 49)[1].x == 400.0  # it ends at one, not at two
    assert long.at(0)[1].x == pytest.approx(400 * 0.004)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"save_every": 3, "look_every": 2}, "must be a multiple of look_every"),
        ({"kernel_z": []}, "kernel_z"),
        ({"kernel_x": [[0.0, 1.0]]}, "kernel_x"),
        ({"phases": []}, "phases"),
        ({"phases": [{"epochs": 1, "lr": 0.1, "weights": {}}]}, "a loss with a weight above 0"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"reconstruct": "inputs"}, "reconstruct"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(changes: dict[str, object], message: str):
    with pytest.raises(UserError, match=message):
        training(**changes)
