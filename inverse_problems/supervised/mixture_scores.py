"""Score posteriors of the eight Gaussians, which are known exactly."""

from typing import Any

import torch
from torch import Tensor

from common.metrics.mmd import mmd
from inverse_problems.supervised.data import PROBLEMS
from inverse_problems.supervised.mixture import STD, Mixture
from inverse_problems.supervised.scores import (
    LATENT_POINTS,
    LATENTS,
    POSTERIORS,
    REFERENCE,
    SECOND,
    Trained,
    outputs,
    over_models,
    score_intervals,
    score_latents,
)

# A sample belongs to a mode within so many standard deviations: 98.9 % of an exact one's do.
NEAR = 3.0
# A mode counts as reached if it has at least this part of the samples that are due to it.
REACHED = 0.25


def score_mixture(model: Trained, metrics: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Add all scores of a mixture to metrics, and to arrays what is drawn of the first model.

    Arrays: `labels` (L,); `posterior` and `exact` (L, n, 2); those of `score_intervals`.
    """
    problem = PROBLEMS[model.trained.problem]
    assert isinstance(problem, Mixture)
    y, z, guess = outputs(model)
    metrics["accuracy"] = over_models((guess.argmax(-1) == y.argmax(-1)).double().mean(-1))
    score_latents(model, z, metrics)
    metrics["dependence"] = dependence(model, z, y.argmax(-1))
    labels = sorted(set(problem.labels))
    arrays["labels"] = torch.tensor(labels)
    observations = torch.eye(problem.y, dtype=y.dtype)[labels]
    samples = model.samples(observations, model.cfg.samples, POSTERIORS)
    noise, again = model.noise(REFERENCE), model.noise(SECOND)
    exact = [problem.posterior(label, model.cfg.samples, noise, y.dtype) for label in labels]
    other = [problem.posterior(label, model.cfg.samples, again, y.dtype) for label in labels]
    metrics["posterior"] = posteriors(model, problem, labels, samples, exact, other)
    arrays["posterior"] = samples[0, :, : model.cfg.drawn].float()
    arrays["exact"] = torch.stack(exact)[:, : model.cfg.drawn].float()
    score_intervals(model, metrics, arrays)


def dependence(model: Trained, z: Tensor, label: Tensor) -> dict[str, Any]:
    """Return how far the latents of each label are from N(0, I): its mean over the labels.

    Latents that do not depend on y have the standard normal as their distribution given any y.
    `floor` is what as many exact draws give.
    """
    noise = model.noise(LATENTS)
    kernel = model.trained.kernel_z
    found, floor = [], []
    for own in label.unique().tolist():
        mine = z[:, label == own][:, :LATENT_POINTS]
        normal = [torch.randn(mine.shape[1:], generator=noise, dtype=z.dtype) for _ in range(2)]
        found.append(mmd(mine, normal[0].expand_as(mine), kernel))
        floor.append(mmd(normal[0], normal[1], kernel))
    return {
        "mmd": over_models(torch.stack(found).mean(0)),
        "floor": torch.stack(floor).mean().item(),
    }


def posteriors(
    model: Trained,
    problem: Mixture,
    labels: list[int],
    samples: Tensor,
    exact: list[Tensor],
    other: list[Tensor],
) -> dict[str, Any]:
    """Return how samples (K, L, n, 2) compare with exact ones.

    `mmd` is the mean over the labels, `floor` that of two exact sets. `modes` and `of` count the
    modes reached and those there are, over all labels. `stray` is the share of samples near none
    of the eight modes, `wrong` of those near one with another label.
    """
    near = problem.distances(samples) <= NEAR * STD
    found: dict[str, list[Tensor]] = {"mmd": [], "modes": [], "stray": [], "wrong": []}
    floor = []
    for k, label in enumerate(labels):
        own = problem.modes(label)
        share = near[:, k].double().mean(1)
        found["modes"].append((share[:, own] >= REACHED / len(own)).sum(-1))
        found["stray"].append((~near[:, k].any(-1)).double().mean(-1))
        found["wrong"].append(share.sum(-1) - share[:, own].sum(-1))
        pair = samples[:, k], exact[k].expand_as(samples[:, k])
        found["mmd"].append(mmd(*pair, model.cfg.kernel))
        floor.append(mmd(other[k], exact[k], model.cfg.kernel))
    stacked = {name: torch.stack(values).double() for name, values in found.items()}
    return {
        "mmd": over_models(stacked["mmd"].mean(0)),
        "floor": torch.stack(floor).mean().item(),
        "modes": over_models(stacked["modes"].sum(0)),
        "of": sum(len(problem.modes(label)) for label in labels),
        "stray": over_models(stacked["stray"].mean(0)),
        "wrong": over_models(stacked["wrong"].mean(0)),
        "labels": {
            str(label): {name: values[k].tolist() for name, values in stacked.items()}
            for k, label in enumerate(labels)
        },
    }
