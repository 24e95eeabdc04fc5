"""Score densities of the plane against the true ones, and lay them out for the figures."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from common.flows.bank import Stack
from common.metrics.certificate import certificate
from common.metrics.worst import worst_of
from common.training.seeding import generator
from monotone_flow.config import Train
from monotone_flow.over_models import mean_over_models
from monotone_flow.protocol import Evaluate
from monotone_flow.toys import TOYS
from monotone_flow.toys.entropy import entropy
from monotone_flow.vectors import CHUNK, build, chain_of

# Streams of the evaluation's seed.
POINTS, SAMPLES, CERTIFY = range(3)
WINDOW = 4.0  # the published panels show [-4, 4]^2
BOX = 8.0  # what lies outside [-8, 8]^2 is below the quoted digits


@torch.no_grad()
def score_plane(
    last: Stack,
    best: Stack,
    trained: Train,
    cfg: Evaluate,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add scores and a certificate for each set to metrics, and pictures to arrays.

    `published` is the mean of the last looks of the training, `test` that of the last weights over
    many fresh points, both negative log-likelihoods in nats; `excess` is the mean of log p_true -
    log p_model over the test points, an estimate of the Kullback-Leibler divergence in which the
    points' own sampling error cancels.

    Arrays, (G, G), row by second coordinate from below, of each set's first model: `density_<set>`,
    `true_<set>`, and counts `samples_<set>`, `data_<set>`.
    """
    metrics["unit"] = "nats"
    metrics["sets"] = {}
    looks = arrays["curve_valid"][-trained.last_looks :].double()
    found = {}
    for place, name in enumerate(trained.sets):
        models = slice(place * trained.seeds, (place + 1) * trained.seeds)
        part = models_of(last, trained, models)
        scores, points = _scores(part, name, cfg, place)
        published = mean_over_models(looks[:, models].mean(0))
        # The looks differ by their points and by what training did between them.
        if len(looks) > 1:
            spread = looks[:, models].mean(1).std().item() / math.sqrt(len(looks))
            published["se"] = max(spread, published["se"] or 0.0)
        metrics["sets"][name] = {"published": {**published, "looks": len(looks)}, **scores}
        box = ((-BOX, -BOX), (BOX, BOX))
        kept = points[:, : cfg.certified].double()
        with torch.enable_grad():  # the exact Jacobians are those of automatic differentiation
            found[name] = certificate(
                part.flow, kept, jacobian_items=cfg.jacobians, box=box, n=cfg.cells
            )
        metrics["sets"][name]["integral"] = found[name]["density"]
        _draw(models_of(last, trained, slice(models.start, models.start + 1)), name, cfg, arrays)
    metrics["certificates"] = found
    metrics["certificate"] = worst_of(list(found.values()))


def models_of(stack: Stack, trained: Train, models: slice) -> Stack:
    """Return some of the models as a stack of their own."""
    tensors = {name: tensor[models] for name, tensor in stack.tensors().items()}
    count = len(next(iter(tensors.values())))
    part = build(trained.model, 2, count, trained.seed).to(next(iter(tensors.values())))
    part.load_tensors(copy.deepcopy(tensors))
    return part.eval()


def _scores(part: Stack, name: str, cfg: Evaluate, place: int) -> tuple[dict[str, Any], Tensor]:
    device, dtype = next(part.parameters()).device, next(part.parameters()).dtype
    noise = generator(cfg.seed, POINTS, place, device=device)
    x = TOYS[name].sample(cfg.points, noise, dtype=dtype)
    x = x[torch.randperm(len(x), generator=noise, device=device)]
    batch = x.expand(part.models, -1, -1)
    model = torch.cat([part.log_prob(p).double() for p in batch.split(CHUNK, 1)], 1)
    true = TOYS[name].log_prob(x).to(device)
    value, error = entropy(name)
    test, excess = mean_over_models(-model.mean(1)), mean_over_models((true - model).mean(1))
    root = math.sqrt(cfg.points)
    # Models of a set share its points: the error is that of the points' averages over models.
    test["se"] = model.mean(0).std().item() / root
    excess["se"] = (true - model).mean(0).std().item() / root
    scores = {
        "test": {**test, "points": cfg.points},
        "excess": excess,
        "floor": {"value": value, "error": error},
        "lipschitz_bound": chain_of(part).nets.bounds().max().item(),
    }
    return scores, batch


def _draw(part: Stack, name: str, cfg: Evaluate, arrays: dict[str, Tensor]) -> None:
    device, dtype = next(part.parameters()).device, next(part.parameters()).dtype
    axis = 2 * WINDOW * (torch.arange(cfg.grid, dtype=torch.float64) + 0.5) / cfg.grid - WINDOW
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack((first, second), -1).reshape(-1, 2)
    log_density = [
        part.log_prob(p.to(device, dtype).unsqueeze(0))[0].double().cpu()
        for p in points.split(CHUNK)
    ]
    shape = (cfg.grid, cfg.grid)
    arrays[f"density_{name}"] = torch.cat(log_density).exp().reshape(shape).float()
    arrays[f"true_{name}"] = TOYS[name].log_prob(points).exp().reshape(shape).float()
    noise = generator(cfg.seed, SAMPLES, device=device)
    drawn = [
        part.sample(min(CHUNK, cfg.samples - done), noise)[0].cpu()
        for done in range(0, cfg.samples, CHUNK)
    ]
    arrays[f"samples_{name}"] = _histogram(torch.cat(drawn), cfg.grid)
    data = TOYS[name].sample(cfg.samples, noise, dtype=dtype).cpu()
    arrays[f"data_{name}"] = _histogram(data, cfg.grid)


def _histogram(points: Tensor, cells: int) -> Tensor:
    """Count points (N, 2) in the cells of the window, row by second coordinate from below."""
    at = ((points + WINDOW) / (2 * WINDOW) * cells).floor().long()
    inside = ((at >= 0) & (at < cells)).all(-1)
    flat = at[inside, 1] * cells + at[inside, 0]
    return torch.bincount(flat, minlength=cells * cells).reshape(cells, cells).int()
