"""Score posteriors of the arm against a rejection sampler."""

from typing import Any

import torch
from torch import Tensor

from common.metrics.mmd import mmd
from inverse_problems.supervised.data import PROBLEMS
from inverse_problems.supervised.kinematics import Kinematics
from inverse_problems.supervised.posterior import mode
from inverse_problems.supervised.scores import (
    POSTERIORS,
    REFERENCE,
    SECOND,
    Trained,
    outputs,
    over_models,
    score_intervals,
    score_latents,
)


def score_arm(model: Trained, metrics: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Add all scores of the arm to metrics, and to arrays what is drawn of the first model.

    Arrays: `target` (2,); `posterior` and `reference` (n, 4), configurations that should reach it;
    `map` and `reference_map` (4,), the most likely ones; those of `score_intervals`.
    """
    problem = PROBLEMS[model.trained.problem]
    assert isinstance(problem, Kinematics)
    y, z, guess = outputs(model)
    error = (guess - y).square().sum(-1).sqrt()
    metrics["forward_error"] = over_models(error.median(-1).values)
    score_latents(model, z, metrics)
    compare(model, problem, metrics)
    show(model, problem, arrays)
    score_intervals(model, metrics, arrays)


def compare(model: Trained, problem: Kinematics, metrics: dict[str, Any]) -> None:
    """Add discrepancies to reference posteriors and the errors of most likely configurations.

    `map_error` is the root mean square of |x_MAP - x| over the observations, `map_resimulation` the
    median of |f(x_MAP) - y|; of the reference too.
    """
    cfg = model.cfg
    x, y = model.test(cfg.compared)
    reference, kept = problem.rejection(y, 2 * cfg.reference, cfg.tolerance, model.noise(REFERENCE))
    first, second = reference.split(cfg.reference, 1)
    samples = model.samples(y, cfg.reference, POSTERIORS)
    metrics["posterior"] = {
        "mmd": over_models(mmd(samples, first.expand_as(samples), cfg.kernel).mean(-1)),
        "floor": mmd(second, first, cfg.kernel).mean().item(),
        "observations": cfg.compared,
        "samples": cfg.reference,
        "tolerance": cfg.tolerance,
        "lowest_yield": kept,
    }
    for name, found in (("", mode(samples)), ("reference_", mode(first).unsqueeze(0))):
        distance = (found - x).square().sum(-1)
        metrics[f"{name}map_error"] = over_models(distance.mean(-1).sqrt())
        again = (problem.simulate(found) - y).square().sum(-1).sqrt()
        metrics[f"{name}map_resimulation"] = over_models(again.median(-1).values)


def show(model: Trained, problem: Kinematics, arrays: dict[str, Tensor]) -> None:
    """Add posterior and reference samples of the target."""
    cfg = model.cfg
    target = torch.tensor([cfg.target], dtype=model.dtype)
    samples = model.samples(target, cfg.drawn, SECOND)[0, 0]
    reference = problem.rejection(target, cfg.drawn, cfg.tolerance, model.noise(SECOND))[0][0]
    arrays["target"] = target[0]
    arrays["posterior"], arrays["reference"] = samples.float(), reference.float()
    arrays["map"], arrays["reference_map"] = mode(samples).float(), mode(reference).float()
