"""Learning rates at the points where they are known."""

import pytest

from common.training.schedule import cosine, staircase


def test_a_cosine_starts_and_ends_where_it_should():
    assert cosine(0, 101, 1e-3, 1e-4) == pytest.approx(1e-3)
    assert cosine(50, 101, 1e-3, 1e-4) == pytest.approx((1e-3 + 1e-4) / 2)
    assert cosine(100, 101, 1e-3, 1e-4) == pytest.approx(1e-4)
    assert cosine(500, 101, 1e-3, 1e-4) == pytest.approx(1e-4)


def test_a_cosine_falls_after_a_rise():
    rates = [cosine(step, 50, 1.0, 0.0, warmup=9) for step in range(50)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert min(rates) >= 0


def test_a_training_of_one_step_has_a_rate():
    assert cosine(0, 1, 1.0, 0.1) == 1.0


def test_a_staircase_falls_after_each_tread():
    assert [staircase(e, 1.0, 0.5, 2) for e in range(5)] == [1.0, 1.0, 0.5, 0.5, 0.25]
