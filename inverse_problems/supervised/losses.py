"""The losses that train an invertible network in both directions, for K models at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from common.flows.bank import Stack
from common.metrics.mmd import mmd
from inverse_problems.supervised.config import Train, Weights
from inverse_problems.supervised.model import Layout, chain_of


@dataclass(frozen=True, eq=False)
class Drawn:
    """Hold one batch, padded and disturbed; `x`, `y` and the rest are (K, B, ...).

    Args:
        x: quantities and their padding, (K, B, total).
        y: the observations without noise.
        target: [z, padding, y] as they should come out: z from N(0, I), the padding near zero, y
            with its noise.
    """

    x: Tensor
    y: Tensor
    target: Tensor


def draw(cfg: Train, layout: Layout, x: Tensor, y: Tensor, generator: torch.Generator) -> Drawn:
    """Pad a batch x (K, B, Dx), y (K, B, Dy) at both ends and add the noise."""

    def normal(features: int, std: float) -> Tensor:
        shape = (*x.shape[:-1], features)
        return std * torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)

    noise = cfg.noise
    padded = torch.cat((x, normal(layout.pad_x, noise.pad)), -1)
    seen = y + normal(layout.y, noise.y)
    target = torch.cat((normal(layout.z, 1.0), normal(layout.pad, noise.pad), seen), -1)
    return Drawn(padded, y, target)


def losses(
    stack: Stack,
    cfg: Train,
    layout: Layout,
    weights: Weights,
    batch: Drawn,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return each loss that has a weight, unweighted, (K,), by its name in `Weights`.

    `y` is the squared error of the observation and of the padding. `z` compares (z, y) as they come
    out with latents from N(0, I) beside the true observation: that z is Gaussian and independent of
    y. It sees y through a stop, so that it never bends y itself. `x` compares the inverse of
    observations beside fresh latents with x. `rec` is the squared error with which slightly
    disturbed outputs, gradients stopped, come back. `likelihood` is that of `likelihood_loss`.

    Args:
        stack: the networks.
        cfg: how squared errors are taken, kernels and noise.
        layout: where things stand.
        weights: which losses are wanted.
        batch: what `draw` returned.
        generator: of the noise on outputs.

    Source: Ardizzone et al., "Analyzing Inverse Problems with Invertible Neural Networks", 2018,
    https://arxiv.org/abs/1808.04730, section 3.3, and the code published with it.
    """
    chain = chain_of(stack)
    out, logdet = chain.forward_and_logdet(batch.x)
    z, _, y = layout.parts(out)
    target_z, _, target_y = layout.parts(batch.target)
    found: dict[str, Tensor] = {}
    if weights.y:
        found["y"] = _squared(cfg, out[..., layout.z :], batch.target[..., layout.z :])
    if weights.z:
        ours = torch.cat((z, y.detach()), -1)
        found["z"] = mmd(ours, torch.cat((target_z, target_y), -1), cfg.kernel_z)
    if weights.x:
        guess, x = chain.inverse(batch.target), batch.x
        if not cfg.match_padding:
            guess, x = guess[..., : layout.x], x[..., : layout.x]
        found["x"] = mmd(guess, x, cfg.kernel_x)
    if weights.rec:
        disturbed = disturb(cfg, layout, out.detach(), batch, generator)
        found["rec"] = _squared(cfg, chain.inverse(disturbed), batch.x)
    if weights.likelihood:
        found["likelihood"] = likelihood_loss(cfg, layout, out, logdet, batch.y)
    return found


def disturb(
    cfg: Train, layout: Layout, out: Tensor, batch: Drawn, generator: torch.Generator
) -> Tensor:
    """Return the outputs from which x is reconstructed, (K, B, total).

    The network's own with a little noise each; or, for `reconstruct` = targets, its latents with
    noise beside fresh padding and a noisy true observation, as in the published notebook.
    """
    noise = cfg.noise
    scales = [noise.z] * layout.z + [noise.pad] * layout.pad + [noise.y] * layout.y
    fresh = torch.randn(out.shape, generator=generator, device=out.device, dtype=out.dtype)
    fresh = fresh * out.new_tensor(scales)
    if cfg.reconstruct == "outputs":
        return out + fresh
    z, _, _ = layout.parts(out)
    return fresh + torch.cat((z, torch.zeros_like(fresh[..., : layout.pad]), batch.y), -1)


def likelihood_loss(cfg: Train, layout: Layout, out: Tensor, logdet: Tensor, y: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of padded x given y, in nats, (K,).

    The model says z ~ N(0, I), padding ~ N(0, noise.pad^2) and y ~ N(f_y(x), noise.y^2), so that
    -log p = |z|^2 / 2 + |pad|^2 / 2 noise.pad^2 + |f_y(x) - y|^2 / 2 noise.y^2 - log|det J| and a
    constant. x is padded with noise, hence has a density.
    """
    z, pad, guess = layout.parts(out)
    parts = ((z, 1.0), (pad, cfg.noise.pad), (guess - y, cfg.noise.y))
    total = -logdet
    for part, std in parts:
        total = total + 0.5 * (part / std).square().sum(-1)
        total = total + part.shape[-1] * (math.log(std) + 0.5 * math.log(2 * math.pi))
    return total.mean(-1)


def total(found: dict[str, Tensor], weights: Weights) -> Tensor:
    """Return the weighted sum (K,)."""
    return torch.stack([getattr(weights, name) * loss for name, loss in found.items()]).sum(0)


def _squared(cfg: Train, left: Tensor, right: Tensor) -> Tensor:
    """Return squared errors, averaged over the batch: (K, B, D) -> (K,)."""
    squares = (left - right).square()
    per_item = squares.sum(-1) if cfg.fit == "sum" else squares.mean(-1)
    return per_item.mean(-1)
