"""Bits per dimension with their errors, the estimator's own check, and certificates of a flow."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.metrics.certificate import logdet_error, round_trip
from common.metrics.likelihood import mean_and_se, mean_and_se_of_draws
from common.solvers import NotConverged
from common.training.seeding import generator
from monotone_flow.images.blocks import Block, set_estimators, set_source, standard_error
from monotone_flow.images.certificate import certificate
from monotone_flow.images.config import Evaluate, Train
from monotone_flow.images.estimators import Exact, Omit, Roulette
from monotone_flow.images.model import ImageModel, nats_per_bit
from monotone_flow.images.train import source

# Streams of the evaluation's seed.
NOISE, PROBES, LENGTHS, CERTIFY = range(4)
ROUNDING = {"float32": 1e-6, "float64": 1e-12}  # what the solves of a round trip aim at


@torch.no_grad()
def likelihood(
    model: ImageModel,
    trained: Train,
    cfg: Evaluate,
    data: Dataset,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add bits per dimension of test and validation images; `test` (N,) holds those of each image.

    They bound the discrete code length from above, with uniform and with learned noise, and are
    means of single draws of it: `draws` says how many of each image. `se` is the error of the mean
    over test images and all that was drawn, `se_estimator` the part of it that comes from the
    probes and lengths of the estimated log-determinants.
    """
    for split, items, draws in (
        ("test", data.test.x[: cfg.test_items], cfg.draws),
        ("valid", data.valid.x[: trained.valid_items], 1),
    ):
        values, errors = scored(model, trained, cfg, items, draws)
        mean, se = mean_and_se_of_draws(values)
        metrics[split] = {
            "mean": mean,
            "se": se,
            "se_estimator": errors.square().sum().sqrt().item() / errors.numel(),
            "items": len(items),
            "draws": draws,
            "probes": cfg.probes,
        }
        if split == "test":
            arrays["test"] = values.mean(0).float()


def scored(
    model: ImageModel, trained: Train, cfg: Evaluate, items: Tensor, draws: int
) -> tuple[Tensor, Tensor]:
    """Return bits per dimension (draws, N) and the standard errors of their estimates, float64.

    Where an equation is not solved or a density is no number, both are inf.
    """
    device, dtype = next(model.parameters()).device, getattr(torch, trained.dtype)
    unit = nats_per_bit(tuple(items.shape[1:]))
    set_estimators(model, evaluation=Roulette(cfg.exact, cfg.rate, cfg.probes))
    values, errors = [], []
    chunks = items.split(cfg.chunk)
    for draw in range(draws):
        for place, part in enumerate(chunks, draw * len(chunks)):
            noise = generator(cfg.seed, NOISE, place, device=device)
            set_source(model, source(cfg.seed, PROBES, LENGTHS, place, device))
            try:
                nats = -model(part.to(device, dtype), noise).double().cpu()
                error = standard_error(model).double().cpu()
            except NotConverged:
                nats = error = torch.full((len(part),), math.inf, dtype=torch.float64)
            # NaN is no better than the worst, and must not be left out.
            values.append(nats.nan_to_num(math.inf, math.inf, -math.inf) / unit)
            errors.append(error / unit)
    return torch.cat(values).reshape(draws, -1), torch.cat(errors).reshape(draws, -1)


@torch.no_grad()
def meet_exact(model: ImageModel, trained: Train, cfg: Evaluate, data: Dataset) -> dict[str, Any]:
    """Compare the estimate with exact log-determinants, in bits per dimension.

    Both see the same images with the same noise. `difference` is the mean of estimate minus exact
    and `se` its error over images; `claimed` is the error that the estimates claim for the mean.
    """
    items = data.test.x[: cfg.exact_items]
    (estimated,), (errors,) = scored(model, trained, cfg, items, 1)
    device, dtype = next(model.parameters()).device, getattr(torch, trained.dtype)
    set_estimators(model, evaluation=Exact())
    exact = [
        -model(part.to(device, dtype), generator(cfg.seed, NOISE, place, device=device)).double()
        for place, part in enumerate(items.split(cfg.chunk))
    ]
    gap = estimated - torch.cat(exact).cpu() / nats_per_bit(data.shape)
    mean, se = mean_and_se(gap)
    return {
        "items": len(items),
        "difference": mean,
        "se": se,
        "claimed": errors.square().sum().sqrt().item() / len(items),
    }


def certify(model: ImageModel, cfg: Evaluate, data: Dataset) -> dict[str, Any]:
    """Return the flow's round trips in both precisions, and its log-det's error where asked for.

    The solves aim at the rounding of the precision. The log-determinant whose error is given is the
    exact one of every block, so it is the chain that is certified; `meet_exact` is about estimates.
    """
    device = next(model.parameters()).device
    items = data.test.x[: cfg.certified].to(device, torch.float64)
    set_source(model, None)
    x, _ = _continuous(model, items, generator(cfg.seed, CERTIFY, device=device))
    trips = {}
    for dtype, tolerance in ROUNDING.items():
        with solved_to(model, tolerance):
            trips[dtype] = round_trip(model.flow.bijection, x)[dtype]
    found: dict[str, Any] = {"round_trip": trips, "logdet": {"items": 0}}
    few = x[: cfg.jacobians]
    if len(few):
        set_estimators(model, evaluation=Exact())
        try:
            with solved_to(model, ROUNDING["float64"]):
                error = logdet_error(model.flow.bijection, few)
            found["logdet"] = {"max_error": error, "items": len(few)}
        except NotConverged as failure:
            found["logdet"] = {"error": str(failure)}
    return found


def _continuous(model: ImageModel, pixels: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return x in float64 with blocks that estimate nothing from here on."""
    set_estimators(model, evaluation=Omit())
    with torch.no_grad():
        x, log_q = model.continuous(pixels.to(next(model.parameters()).dtype), noise)
    return x.double(), log_q


@contextmanager
def solved_to(model: ImageModel, tolerance: float) -> Iterator[None]:
    """Let all solves, those of gradients too, aim at a tolerance while the block runs."""
    blocks = [part for part in model.modules() if isinstance(part, Block)]
    kept = [(block.tolerance, block.backward_tolerance) for block in blocks]
    try:
        for block in blocks:
            block.tolerance = block.backward_tolerance = tolerance
        yield
    finally:
        for block, before in zip(blocks, kept, strict=True):
            block.tolerance, block.backward_tolerance = before


def lipschitz(model: ImageModel) -> dict[str, Any]:
    """Return the largest bound of a net from exact norms, what it promised, and the largest norm.

    Raises: NotConverged where a norm is not found.
    """
    nets = certificate(model)
    worst = max(nets, key=lambda net: net.bound)
    return {
        "bound": worst.bound,
        "promised": worst.promised,
        "largest_norm": max(norm for net in nets for norm in net.norms.values()),
        "nets": len(nets),
        "layers": sum(len(net.norms) for net in nets),
    }
