"""The models of this paper, each as K independent ones that train together."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection, Chain
from common.bijections.conditional import Autoregressive, Coupling
from common.bijections.lu import LULinear
from common.bijections.permutation import Permutation
from common.bijections.residual_net import ResidualNet, ResMADE
from common.bijections.transformer import SigmoidAffine, Transformer
from common.errors import UserError
from common.flows.bank import Bank, Stack
from common.flows.flow import Flow, StandardNormal
from common.metrics import gaussian
from common.training.seeding import permutation
from lrs_flow.config import Model

# The stream of the seed that draws the fixed permutations.
PERMUTATION = 11


def build(cfg: Model, shape: tuple[int, ...], levels: int | None, models: int, seed: int) -> Bank:
    """Build K untrained models; torch's global generator draws their parameters.

    Args:
        cfg: which model.
        shape: (D,) of vectors, (C, H, W) of images.
        levels: number of pixel values, or None for vectors.
        models: K.
        seed: of the fixed permutations, which all K share.

    Raises:
        UserError: there is no such model of images.
    """
    if levels is not None:
        if cfg.kind in ("ffjord", "gaussian") or cfg.layer == "autoregressive":
            raise UserError(
                f"images: expected couplings of kind lrs, rq, q or affine, "
                f"got {cfg.kind}, {cfg.layer}"
            )
        from lrs_flow.image import build_image

        return Bank([build_image(cfg, shape, levels, seed, k) for k in range(models)])
    (features,) = shape
    if cfg.kind == "ffjord":
        from lrs_flow.ffjord import build_ffjord

        return build_ffjord(cfg, features, models)
    if cfg.kind == "gaussian":
        return Stack(Flow(StandardNormal(shape), LULinear(features, (models,))), models)
    links: list[Bijection] = []
    for step in range(cfg.steps):
        if cfg.linear:
            links += linear(features, models, seed, step)
        links.append(layer(cfg, features, models, step))
    if cfg.linear:
        links += linear(features, models, seed, cfg.steps)
    base = StandardNormal(shape) if cfg.tails else Uniform(shape)
    return Stack(Flow(base, Chain(links)), models)


def linear(features: int, models: int, seed: int, step: int) -> list[Bijection]:
    """Return a fixed random permutation and an LU layer that starts as the identity."""
    order = permutation(features, seed, PERMUTATION, step)
    return [Permutation(order), LULinear(features, (models,))]


def layer(cfg: Model, features: int, models: int, step: int) -> Bijection:
    """Return one coupling or autoregressive layer.

    Couplings change the features of even index at even steps, those of odd index at odd steps.
    """
    if cfg.layer == "autoregressive":
        # As in the published code the logits are not scaled here: its autoregressive networks lack
        # the attribute that the scaling looks for.
        mapped = transformer(cfg, logit_scale=1.0)
        made = ResMADE(
            features,
            mapped.parameters,
            cfg.hidden,
            cfg.blocks,
            dropout=cfg.dropout,
            batch_norm=cfg.batch_norm,
            models=(models,),
        )
        if cfg.start == "identity":
            made.give_constant(mapped.identity().repeat_interleave(features))
        return Autoregressive(made, mapped, features)
    changed = torch.arange(features) % 2 == step % 2
    mapped = transformer(cfg, logit_scale=cfg.hidden**-0.5)
    count = int(changed.sum())
    net = ResidualNet(
        features - count,
        mapped.parameters * count,
        cfg.hidden,
        cfg.blocks,
        dropout=cfg.dropout,
        batch_norm=cfg.batch_norm,
        models=(models,),
    )
    free = cfg.unconditional and cfg.kind != "affine"
    coupling = Coupling(
        changed,
        net,
        mapped,
        unconditional=transformer(cfg, logit_scale=1.0) if free else None,
        models=(models,),
    )
    if cfg.start == "identity":
        net.give_constant(mapped.identity().repeat_interleave(count))
        if coupling.unconditional is not None:
            with torch.no_grad():
                coupling.raw.copy_(coupling.unconditional.identity().expand_as(coupling.raw))
    return coupling


def spline_backend(cfg: Model, compiled: bool) -> AbstractContextManager[object]:
    """Return a context in which splines are compiled where that is wanted and possible."""
    if not compiled or cfg.kind not in ("lrs", "rq", "q"):
        return nullcontext()
    from common.bijections.splines.backend import use_backend

    return use_backend("auto")


def transformer(cfg: Model, logit_scale: float) -> Transformer:
    """Return what maps a scalar.

    The splines' code is imported only when asked for, so that an edit there leaves finished
    trainings of the other models valid.
    """
    if cfg.kind == "affine":
        return SigmoidAffine()
    from common.bijections.splines import LinearRational, Quadratic, RationalQuadratic

    if cfg.kind == "q":
        return Quadratic(
            cfg.bins, cfg.bound, cfg.tails, logit_scale=logit_scale, boundary=cfg.boundary
        )
    kinds = {"lrs": LinearRational, "rq": RationalQuadratic}
    return kinds[cfg.kind](cfg.bins, cfg.bound, cfg.tails, logit_scale=logit_scale)


class Uniform(nn.Module):
    """The uniform density on the unit cube; splines without tails map it to itself."""

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        self.event = tuple(event)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return 0 for each latent: (*batch, *event) -> (*batch,)."""
        return z.new_zeros(z.shape[: z.dim() - len(self.event)])

    def sample(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
        """Return latents (*shape, *event); the generator decides device and stream."""
        size = (*shape, *self.event)
        noise = torch.rand(size, generator=generator, device=generator.device, dtype=like.dtype)
        return noise.to(like.device)


@torch.no_grad()
def fit_gaussian(bank: Bank, x: Tensor, weights: Tensor) -> None:
    """Set the one LU layer of each model to the maximum likelihood Gaussian.

    Args:
        bank: K models of kind `gaussian`.
        x: items (K, N, D), or (1, N, D) for all.
        weights: (K, N), 1 for items and 0 for padding.
    """
    flow = cast(Stack, bank).flow
    lu = cast(LULinear, flow.bijection)
    for k, own in enumerate(weights):
        mean, root = gaussian.fit(x[min(k, len(x) - 1)][own > 0])
        # z = C^-1 (x - mean) with lower C^-1 = L diag(u): one LU layer holds it.
        eye = torch.eye(len(root), dtype=root.dtype, device=root.device)
        inverse = torch.linalg.solve_triangular(root, eye, upper=False)
        u = inverse.diagonal()
        packed = inverse / u + torch.diag(u - 1)
        lu.packed[k] = packed.to(lu.packed)
        lu.bias[k] = -(inverse @ mean).to(lu.bias)


def parameter_count(cfg: Model, shape: tuple[int, ...], levels: int | None) -> int:
    """Return the number of trained numbers of one model."""
    return sum(math.prod(p.shape) for p in build(cfg, shape, levels, 1, 0).parameters())
