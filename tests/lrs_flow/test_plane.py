import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from common.datasets.dataset import Dataset, Split
from common.datasets.picture import PixelDensity
from common.datasets.rings import Rings
from common.flows.bank import Bank
from lrs_flow import plane
from lrs_flow.plane import score_plane
from lrs_flow.protocol import Evaluate

# Two columns and two rows, first row on top: the lower right is the brightest quarter.
PICTURE = PixelDensity(torch.tensor([[1, 2], [3, 10]], dtype=torch.uint8))


class Exact(Bank):
    """K models whose density is a given one; samples are given points."""

    def __init__(self, truth: Rings | PixelDensity, models: int, points: Tensor) -> None:
        nn.Module.__init__(self)
        self.truth, self.models, self.points = truth, models, points
        self.anything = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.truth.log_prob(x)

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        first = torch.randint(len(self.points), (n,), generator=generator)
        return self.points[first].expand(self.models, -1, -1)


def data(name: str, points: Tensor) -> Dataset:
    split = Split(points, torch.zeros(len(points), dtype=torch.int64))
    return Dataset(name, split, split, split, levels=None, classes=1)


def ring_points(n: int = 400) -> Tensor:
    """Return draws of the rings."""
    truth, generator = Rings(), torch.Generator().manual_seed(0)
    radii = torch.tensor(truth.radii, dtype=torch.float64)
    radius = radii[torch.randint(4, (n,), generator=generator)]
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    circle = torch.stack((angle.cos(), angle.sin()), 1) * radius[:, None]
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return circle + truth.std * noise


def scored(
    bank: Bank, points: Dataset, truth: Rings | PixelDensity, cfg: Evaluate, test: Tensor
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    metrics: dict[str, Any] = {}
    arrays = {"test": test}
    score_plane(bank, cfg, truth, points, metrics, arrays)
    return metrics["truth"], arrays


def test_the_true_density_has_no_excess():
    truth, x = Rings(), ring_points()
    log_prob = truth.log_prob(x)
    test = log_prob.expand(3, -1).float()
    found, _ = scored(Exact(truth, 3, x), data("rings", x), truth, Evaluate(grid=8), test)
    # Test scores are kept in float32, of numbers around one.
    assert abs(found["excess"]) < 1e-6
    assert found["excess_se"] < 1e-6
    assert found["log_likelihood"] == pytest.approx(log_prob.mean().item())
    # 400 points know the entropy to four standard errors.
    error = 4 * log_prob.std().item() / 20
    assert found["log_likelihood"] == pytest.approx(-found["entropy"], abs=error)


def test_the_excess_is_that_of_the_points_that_were_scored():
    truth, x = Rings(), ring_points()
    true = truth.log_prob(x)[:100]
    gaps = torch.stack((torch.linspace(0, 1, 100), torch.full((100,), 0.2))).double()
    test = (true - gaps).float()
    found, _ = scored(Exact(truth, 2, x), data("rings", x), truth, Evaluate(grid=8), test)
    # Means of float32 numbers.
    assert found["excess_per_model"] == pytest.approx([0.5, 0.2], abs=1e-6)
    assert found["excess"] == pytest.approx(0.35, abs=1e-6)
    mean_gaps = gaps.mean(0)
    assert found["excess_se"] == pytest.approx((mean_gaps.std() / 10).item(), abs=1e-6)


def test_a_density_is_drawn_with_the_first_coordinate_to_the_right_and_the_second_up():
    points = torch.tensor([[0.75, 0.25]] * 3 + [[0.25, 0.75]], dtype=torch.float64)
    test = PICTURE.log_prob(points)[None]
    bank = Exact(PICTURE, 1, points[:1])
    cfg = Evaluate(grid=4, samples=50)
    _, arrays = scored(bank, data("picture", points), PICTURE, cfg, test)
    # Rows by second coordinate from below: row 0 is the lower edge of the picture.
    upright = PICTURE.density.flip(0).repeat_interleave(2, 0).repeat_interleave(2, 1).float()
    torch.testing.assert_close(arrays["true_density"], upright)
    torch.testing.assert_close(arrays["density"], upright)
    # All samples lie in the lower right, and three of the four points.
    counts = arrays["histogram"]
    assert counts[:2, 2:].sum() == counts.sum() == 50
    counts = arrays["data_histogram"]
    assert (counts[:2, 2:].sum(), counts[2:, :2].sum(), counts.sum()) == (3, 1, 4)


def test_points_outside_the_window_are_not_counted():
    points = torch.tensor([[3.9, -3.9], [4.1, 0.0], [0.0, -4.1], [4.0, 0.0], [-4.0, -4.0]])
    found = plane._histogram(points, -4.0, 4.0, 4)
    expected = torch.zeros(4, 4, dtype=torch.int32)
    expected[0, 3] = expected[0, 0] = 1  # the upper edge is outside, the lower one inside
    assert torch.equal(found, expected)


@pytest.mark.parametrize("models", [1, 3])
def test_the_density_is_that_of_the_first_model_in_however_many_pieces(
    models: int, monkeypatch: pytest.MonkeyPatch
):
    class Distinct(Exact):
        def log_prob(self, x: Tensor) -> Tensor:
            return self.truth.log_prob(x) + torch.arange(self.models)[:, None]

    x = ring_points(40)
    bank, cfg = Distinct(Rings(), models, x), Evaluate(grid=10, samples=25)
    test = Rings().log_prob(x).expand(models, -1)
    _, whole = scored(bank, data("rings", x), Rings(), cfg, test)
    assert torch.equal(whole["density"], whole["true_density"])
    assert whole["histogram"].sum() == 25
    monkeypatch.setattr(plane, "POINTS", 9)
    _, pieces = scored(bank, data("rings", x), Rings(), cfg, test)
    assert torch.equal(pieces["density"], whole["density"])
    assert pieces["histogram"].sum() == 25


def test_a_density_on_the_plane_sums_to_one_over_the_window():
    x = ring_points(40)
    test = Rings().log_prob(x)[None]
    _, arrays = scored(Exact(Rings(), 1, x), data("rings", x), Rings(), Evaluate(grid=200), test)
    # The rings lie inside; cells of 0.04 are half a standard deviation wide.
    assert (arrays["true_density"].sum() * 0.04**2).item() == pytest.approx(1, abs=1e-4)
