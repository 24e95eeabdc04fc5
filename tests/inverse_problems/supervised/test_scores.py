"""Scores tell exact posteriors from wrong ones."""

import math

import pytest
import torch
from torch import Tensor

from inverse_problems.supervised.config import Evaluate
from inverse_problems.supervised.data import PROBLEMS
from inverse_problems.supervised.evaluate import evaluate
from inverse_problems.supervised.mixture import Mixture
from inverse_problems.supervised.mixture_scores import dependence, posteriors
from inverse_problems.supervised.model import build
from inverse_problems.supervised.scores import Trained, over_models
from inverse_problems.supervised.train import layout_of
from tests.inverse_problems.supervised.small import training

SOME = PROBLEMS["mixture_some"]
LABELS = [0, 1, 2, 3]
SMALL = Evaluate(
    points=300,
    observations=20,
    samples=40,
    compared=2,
    reference=20,
    drawn=15,
    tolerance=0.05,
    jacobians=2,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(problem: str = "mixture_some") -> Trained:
    cfg = training(problem)
    stack = build(cfg.model, layout_of(cfg), cfg.seeds, cfg.seed).eval()
    return Trained(stack, layout_of(cfg), cfg, SMALL)


def exact(n: int, seed: int) -> list[Tensor]:
    assert isinstance(SOME, Mixture)
    return [SOME.posterior(k, n, seeded(10 * seed + k), torch.float64) for k in LABELS]


def judged(samples: Tensor) -> dict[str, object]:
    assert isinstance(SOME, Mixture)
    return posteriors(trained(), SOME, LABELS, samples, exact(400, 1), exact(400, 2))


def test_exact_samples_reach_all_modes_and_hardly_stray():
    found = judged(torch.stack(exact(400, 3)).unsqueeze(0))
    assert found["of"] == 8
    assert found["modes"]["mean"] == 8
    # exp(-9 / 2) of a Gaussian of the plane lies beyond three standard deviations.
    error = 4 * math.sqrt(math.exp(-4.5) / 1600)
    assert found["stray"]["mean"] == pytest.approx(math.exp(-4.5), abs=error)
    assert found["wrong"]["mean"] == 0
    assert found["mmd"]["mean"] < 3 * found["floor"]


def test_a_lost_mode_stray_and_wrong_samples_are_seen():
    samples = torch.stack(exact(400, 3)).unsqueeze(0).repeat(2, 1, 1, 1)
    samples[0, 1] = samples[0, 2]  # label 1 gets the mode of label 2
    samples[1, 3] = 0.0
    found = judged(samples)
    assert found["modes"]["per_model"] == [6, 7]
    assert found["wrong"]["per_model"][0] == pytest.approx(0.25, abs=0.01)
    assert found["stray"]["per_model"][1] == pytest.approx(0.25, abs=0.02)
    assert found["labels"]["1"]["modes"] == [0, 2]
    assert min(found["mmd"]["per_model"]) > 10 * found["floor"]


def test_latents_that_depend_on_the_label_are_told_from_those_that_do_not():
    label = torch.arange(4).repeat(200)
    free = torch.randn(1, 800, 2, generator=seeded(), dtype=torch.float64)
    # All latents together stay about standard normal in spread; each label's are shifted.
    shifted = free * 0.7 + torch.tensor([[-1.0, 0], [1, 0], [0, -1], [0, 1]])[label]
    found = dependence(trained(), torch.cat((free, shifted)), label)
    assert found["mmd"]["per_model"][0] < 2 * found["floor"]
    assert found["mmd"]["per_model"][1] > 5 * found["floor"]


def test_a_summary_has_an_error_only_for_several_models():
    assert over_models(torch.tensor([2.0])) == {"mean": 2.0, "se": None, "per_model": [2.0]}
    several = over_models(torch.tensor([1.0, 3.0]))
    assert (several["mean"], several["se"]) == (2.0, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        ("mixture_some", {"accuracy", "dependence", "posterior", "resimulation_error"}),
        ("kinematics", {"forward_error", "map_error", "reference_map_error", "posterior"}),
    ],
)
def test_every_score_of_a_problem_is_there(
    problem: str, names: set[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("inverse_problems.supervised.kinematics.POOL", 1 << 16)
    metrics: dict[str, object] = {}
    arrays: dict[str, Tensor] = {}
    evaluate(trained(problem), metrics, arrays)
    assert names <= metrics.keys()
    assert {"calibration_error", "width_68", "latents", "certificate"} <= metrics.keys()
    assert metrics["certificate"]["round_trip"]["float64"]["max"] < 1e-9
    assert arrays["inliers"].shape == (2, 100)
    assert all(array.isfinite().all() for array in arrays.values())
    again: dict[str, object] = {}
    evaluate(trained(problem), again, {})
    assert again == metrics
