from functools import partial

import pytest
import torch

from common.logdet import geometric, poisson
from tests.common.logdet.nets import normal, seeded

DRAWS = pytest.mark.parametrize(
    "draw", [partial(poisson, 2.0), partial(geometric, 0.5)], ids=["poisson", "geometric"]
)


def test_the_weights_of_poisson_two_are_known():
    # 200,000 draws reach nine terms beyond the exact ones (1 in 4,000 does).
    weights = poisson(2.0, 10, (200_000,), seeded()).weights
    largest = weights.amax((1, 2))
    assert largest[:10].tolist() == [1.0] * 10
    known = [1.2, 1.7, 3.1, 7.0, 19, 60, 221, 912]
    # Rounded as printed: half of the last digit.
    for weight, digits, half in zip(
        largest[10:18].tolist(), known, [0.05] * 4 + [0.5] * 4, strict=True
    ):
        assert weight == pytest.approx(digits, abs=half)


def test_the_weights_of_a_geometric_length_are_powers():
    weights = geometric(0.5, 3, (10_000,), seeded()).weights.amax((1, 2))
    assert weights[:9].tolist() == [1, 1, 1, 1, 2, 4, 8, 16, 32]


@DRAWS
@pytest.mark.parametrize("exact", [0, 1, 4])
def test_the_mean_of_every_weight_is_one(draw, exact):
    n = 200_000
    weights = draw(exact, (n,), seeded(), probes=1).weights[:, 0]
    for weight in weights[: exact + 4]:
        # A weight w with probability 1/w has variance w - 1.
        assert abs(weight.mean() - 1) <= 4 * ((weight.max() - 1) / n) ** 0.5


@DRAWS
def test_terms_beyond_the_length_weigh_nothing_and_the_others_something(draw):
    lengths = draw(2, (50, 3), seeded(), probes=4)
    assert lengths.n.shape == (4, 50, 3)
    assert lengths.weights.shape == (int(lengths.n.max()), 4, 50, 3)
    assert lengths.n.dtype == torch.int64
    k = torch.arange(1, len(lengths.weights) + 1).reshape(-1, 1, 1, 1)
    assert torch.equal(lengths.weights > 0, k <= lengths.n)
    assert lengths.n.min() >= 2


def test_a_geometric_length_has_one_term_beyond_the_exact_ones_at_least():
    assert geometric(0.5, 2, (1000,), seeded()).n.min() == 3


@DRAWS
def test_a_shared_length_is_one_for_the_batch_and_one_for_each_probe(draw):
    n = draw(2, (50,), seeded(), probes=8, shared=True).n
    assert n.shape == (8, 50)
    assert torch.equal(n, n[:, :1].expand(8, 50))
    assert len(n[:, 0].unique()) > 1


@DRAWS
def test_an_empty_batch_has_lengths(draw):
    for shared in (False, True):
        lengths = draw(2, (0,), seeded(), shared=shared)
        assert lengths.n.shape == (1, 0)
        assert lengths.weights.shape[1:] == (1, 0)


@DRAWS
def test_lengths_follow_the_generator(draw):
    n = [draw(2, (50,), seeded(seed)).n for seed in (1, 1, 2)]
    assert torch.equal(n[0], n[1])
    assert not torch.equal(n[0], n[2])


def test_lengths_of_another_shape_than_the_probes_are_refused():
    lengths = poisson(2.0, 2, (5,), seeded())
    assert len(lengths.weights_of(normal(1, 5, 3), 1)) == 1
    with pytest.raises(ValueError, match=r"expected shape \(4, 5\).*got \(1, 5\).*probes=4"):
        lengths.weights_of(normal(4, 5, 3), 1)


def test_senseless_rates_are_refused():
    with pytest.raises(ValueError, match="expected a positive rate, got 0"):
        poisson(0.0, 2, (5,), seeded())
    with pytest.raises(ValueError, match=r"expected p in \(0, 1\), got 1"):
        geometric(1.0, 2, (5,), seeded())
