"""The eight Gaussians are where they should be, and so are their posteriors."""

import pytest
import torch

from inverse_problems.supervised.mixture import CENTRES, LABELS, STD, Mixture


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_points_lie_around_their_centres_and_carry_their_labels():
    problem = Mixture(LABELS["all"])
    x, y = problem.draw(40_000, seeded(), torch.float64)
    assert torch.equal(y.sum(-1), torch.ones(40_000, dtype=torch.float64))
    for k, centre in enumerate(CENTRES):
        own = x[y.argmax(-1) == k]
        # Four standard errors of a share, a mean and a standard deviation.
        assert len(own) / 40_000 == pytest.approx(1 / 8, abs=4 * (7 / 64 / 40_000) ** 0.5)
        assert own.mean(0).tolist() == pytest.approx(centre, abs=4 * STD / 5000**0.5)
        assert own.std(0).tolist() == pytest.approx([STD] * 2, rel=4 / 10_000**0.5)


@pytest.mark.parametrize(
    ("name", "counts"), [("all", [1] * 8), ("some", [4, 2, 1, 1]), ("none", [8])]
)
def test_components_share_labels_as_published(name: str, counts: list[int]):
    problem = Mixture(LABELS[name])
    assert [len(problem.modes(label)) for label in range(len(counts))] == counts
    y = problem.draw(100, seeded())[1]
    assert y.argmax(-1).max() < len(counts)


def test_an_exact_posterior_has_the_label_and_all_its_modes():
    problem = Mixture(LABELS["some"])
    x = problem.posterior(1, 4000, seeded(), torch.float64)
    assert (problem.simulate(x).argmax(-1) == 1).all()
    nearest = problem.distances(x).argmin(-1)
    for component in (4, 5):
        share = (nearest == component).double().mean().item()
        assert share == pytest.approx(0.5, abs=4 * (0.25 / 4000) ** 0.5)


def test_simulation_returns_the_labels_that_were_drawn():
    problem = Mixture(LABELS["some"])
    x, y = problem.draw(5000, seeded(1), torch.float64)
    assert torch.equal(problem.simulate(x), y)


def test_distances_are_euclidean_in_any_batch():
    x = torch.tensor([[[-2.4142, 4.0]]], dtype=torch.float64)
    assert Mixture.distances(x)[0, 0, 0].item() == pytest.approx(3.0)
    assert Mixture.distances(x).shape == (1, 1, 8)


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match=r"expected one of the labels \[0, 1, 2, 3\], got 5"):
        Mixture(LABELS["some"]).modes(5)
