"""Posterior samples of an invertible network, and what is asked of them."""

import torch
from torch import Tensor

from common.flows.bank import Stack
from inverse_problems.supervised.model import Layout, chain_of

CONFIDENCES = 100
# Vectors that go through the network at once: they bound the memory only.
ROWS = 1 << 16
SHIFTS = 50


@torch.no_grad()
def sample(
    stack: Stack, layout: Layout, y: Tensor, n: int, pad: float, generator: torch.Generator
) -> Tensor:
    """Return n posterior samples of every observation by every model, (K, m, n, Dx).

    x = f^-1(z, padding, y) with z from N(0, I) and the padding from N(0, pad^2), as in training.

    Args:
        stack: the networks.
        layout: where things stand.
        y: observations (m, Dy).
        n: samples of each.
        pad: standard deviation of the padding.
        generator: of latents and padding, which all models share.
    """
    chain, found = chain_of(stack), []
    for part in y.split(max(1, ROWS // n)):
        shape = (len(part), n, layout.z + layout.pad)
        noise = torch.randn(shape, generator=generator, device=y.device, dtype=y.dtype)
        noise[..., layout.z :] *= pad
        code = torch.cat((noise, part.unsqueeze(1).expand(-1, n, -1)), -1).flatten(0, 1)
        x = chain.inverse(code.expand(stack.models, -1, -1))[..., : layout.x]
        found.append(x.unflatten(1, (len(part), n)))
    return torch.cat(found, 1)


def ranks(samples: Tensor, truth: Tensor) -> Tensor:
    """Return the share of samples below the truth: (K, m, n, D), (m, D) -> (K, m, D)."""
    return (samples < truth.unsqueeze(1)).double().mean(2)


def confidences() -> Tensor:
    """Return the 100 confidences at which calibration is measured, in (0, 1)."""
    return (torch.arange(CONFIDENCES, dtype=torch.float64) + 0.5) / CONFIDENCES


def inliers(rank: Tensor) -> Tensor:
    """Return the share of truths inside the central interval of each confidence.

    A truth lies inside the central interval of confidence q if its rank is within q / 2 of 1/2.

    Args:
        rank: what `ranks` returned, (K, m, D).

    Returns:
        (K, 100), over all observations and entries.

    Source: Ardizzone et al., "Analyzing Inverse Problems with Invertible Neural Networks", 2018,
    https://arxiv.org/abs/1808.04730, section 4.2: the calibration error is the median over the
    confidences of the absolute difference between share and confidence.
    """
    away = (rank - 0.5).abs().flatten(1)
    half = confidences().to(rank.device) / 2
    return (away.unsqueeze(-1) <= half).double().mean(1)


def widths(samples: Tensor, confidence: float = 0.68) -> Tensor:
    """Return the widths of central intervals: (K, m, n, D) -> (K, m, D)."""
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = torch.quantile(samples, samples.new_tensor(tails), dim=2)
    return ends[1] - ends[0]


def mode(samples: Tensor, bandwidth: float = 0.1) -> Tensor:
    """Return where the density of samples is highest, (*batch, n, D) -> (*batch, D).

    The density is that of a Gaussian kernel of the given bandwidth. Mean shift climbs from the
    densest sample; it never descends.

    Source: Comaniciu and Meer, "Mean Shift: A Robust Approach Toward Feature Space Analysis", 2002.
    """

    def weights(at: Tensor) -> Tensor:
        squares = (at.unsqueeze(-2) - samples).square().sum(-1)
        return torch.exp(-0.5 * squares / bandwidth**2)

    # One sample at a time is n^2 distances, but only n of them in memory.
    density = torch.stack(
        [weights(samples[..., k, :]).sum(-1) for k in range(samples.shape[-2])], -1
    )
    place = density.argmax(-1)[..., None, None].expand(*samples.shape[:-2], 1, samples.shape[-1])
    at = samples.gather(-2, place).squeeze(-2)
    for _ in range(SHIFTS):
        weight = weights(at)
        at = (weight.unsqueeze(-1) * samples).sum(-2) / weight.sum(-1, keepdim=True)
    return at
