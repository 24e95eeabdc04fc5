"""The objectives: maximum likelihood, and what the published code minimises."""

import math

import torch
from torch import Tensor

from common.bijections.base import Chain
from common.bijections.elementwise import LeakySoftplus
from common.bijections.lu import LULinear
from common.flows.flow import Flow
from lu_net.config import Train


def objective(flow: Flow, x: Tensor, cfg: Train) -> Tensor:
    """Return the loss of every item in nats: x (*models, B, *event) -> (*models, B)."""
    if cfg.objective == "published":
        return published(flow, x, cfg.logdet_weight, cfg.detach)
    return -flow.log_prob(x)


def published(flow: Flow, x: Tensor, logdet_weight: float, detach: bool) -> Tensor:
    """Return the loss of LU-Net's published training code, in nats of logit space.

    It is ||z||^2 / 2 - sum ln phi' - w sum ln |u_dd| + D/2 ln pi, with w = 100 on images, where
    moreover ln phi' passes no gradient. The Jacobians of dequantisation and logit are left out,
    and the constant should read ln 2 pi.

    Args:
        flow: LU-Net: preprocessing, LU layers and activations in one chain.
        x: items (*models, B, D).
        logdet_weight: w.
        detach: whether ln phi' passes no gradient.

    Source: Chan, Penquitt, Gottschalk, "LU-Net: Invertible Neural Networks Based on Matrix
    Factorization", 2023, https://arxiv.org/abs/2302.10524, negative log-likelihood, as trained.
    """
    chain = flow.bijection
    assert isinstance(chain, Chain)
    weighted = x.new_zeros(x.shape[:-1])
    slopes = torch.zeros_like(weighted)
    for link in chain.links:
        x, logdet = link.forward_and_logdet(x)  # type: ignore[operator]
        if isinstance(link, LULinear):
            weighted = weighted + logdet
        elif isinstance(link, LeakySoftplus):
            slopes = slopes + (logdet.detach() if detach else logdet)
    constant = 0.5 * x.shape[-1] * math.log(math.pi)
    return 0.5 * x.square().sum(-1) - slopes - logdet_weight * weighted + constant
