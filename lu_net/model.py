"""The models of this paper, each as K independent ones that train together."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from common.bijections.base import Bijection, Chain
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.flows import bank
from common.flows.flow import Flow, StandardNormal
from lu_net.config import Model


def builder(cfg: Model) -> "Builder":
    """Return the function that builds the K untrained models: (cfg, shape, levels, K) -> bank.

    RealNVP's code is imported only when asked for, and before the run's fingerprint is taken, so
    that an edit there leaves finished trainings of LU-Net valid.
    """
    if cfg.kind == "realnvp":
        from lu_net.realnvp import build_realnvp

        return build_realnvp
    return build_lu_net


def build_lu_net(cfg: Model, shape: tuple[int, ...], levels: int | None, models: int) -> "Bank":
    """Build K untrained LU-Nets, or single LU layers for the Gaussian, with preprocessing.

    Args:
        cfg: which model.
        shape: (C, H, W) of images, (D,) of vectors.
        levels: number of pixel values, or None for continuous data.
        models: K.
    """
    size = math.prod(shape)
    layers = 1 if cfg.kind == "gaussian" else cfg.layers
    links = preprocessing(cfg, levels, 1)
    for m in range(layers):
        links.append(LULinear(size, (models,)))
        if m < layers - 1:
            links.append(LeakySoftplus(cfg.slope))
    return Stack(Flow(StandardNormal((size,)), Chain(links)), models)


def preprocessing(cfg: Model, levels: int | None, event_dims: int) -> list[Bijection]:
    """Return what maps dequantised pixels to the real line; nothing for continuous data."""
    if levels is None:
        return []
    return [Rescale(levels, event_dims), Logit(cfg.margin, event_dims)]


class Bank(bank.Bank):
    """K independent models of one architecture, evaluated one after the other.

    Items come as (K, B, *shape) for all public methods; log-densities are nats, (K, B).
    """

    def encode(self, x: Tensor) -> Tensor:
        """Return latents (K, B, *shape) of items (K, B, *shape)."""
        found = [flow.bijection.forward_and_logdet(x[k])[0] for k, flow in enumerate(self.each)]
        return torch.stack(found)

    def decode(self, z: Tensor) -> Tensor:
        """Return items (K, B, *shape) of latents (K, B, *shape)."""
        found = [flow.bijection.inverse_and_logdet(z[k])[0] for k, flow in enumerate(self.each)]
        return torch.stack(found)


class Stack(bank.Stack, Bank):
    """K independent models as one batched model: every product is one batched product.

    Items are flattened: (K, B, *shape) is taken as (K, B, D).
    """

    @property
    def links(self) -> list[Bijection]:
        """Return preprocessing, LU layers and activations, in order."""
        return [cast(Bijection, link) for link in cast(Chain, self.flow.bijection).links]

    def layers(self) -> list[LULinear]:
        """Return the LU layers."""
        return [link for link in self.links if isinstance(link, LULinear)]

    def preprocess(self, x: Tensor) -> Tensor:
        """Return items (K, B, *shape) as the first LU layer sees them, (K, B, D)."""
        x = x.flatten(2)
        for link in self.links:
            if isinstance(link, LULinear):
                break
            x = link.forward_and_logdet(x)[0]
        return x

    def frozen(self) -> "Stack":
        """Return a copy for sampling: fixed weights, each LU layer's inverse found once."""
        links = [link.frozen() if isinstance(link, LULinear) else link for link in self.links]
        return Stack(Flow(self.flow.base, Chain(links)), self.models)

    def parts(self, x: Tensor) -> list[tuple[Flow, Tensor, slice]]:
        return [(self.flow, x.flatten(2), slice(None))]

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x.flatten(2))

    def encode(self, x: Tensor) -> Tensor:
        return self.flow.bijection.forward_and_logdet(x.flatten(2))[0]

    def decode(self, z: Tensor) -> Tensor:
        return self.flow.bijection.inverse(z.flatten(2))


Builder = Callable[[Model, tuple[int, ...], int | None, int], Bank]
