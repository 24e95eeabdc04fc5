"""Flows of vectors: blocks and scales in a row, K models side by side."""

from collections.abc import Callable, Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection
from monotone_flow.blocks import KINDS, block, inverse
from monotone_flow.nets import LipschitzNets

Part = Literal["actnorm", "residual", "inverse_residual", "monotone"]
PARTS: tuple[Part, ...] = get_args(Part)
# The variance that a new scale divides by is at least this, as published.
VARIANCE_FLOOR = 0.2
# Without a graph, samples pass in groups whose tapes fit the processor's cache: ten times faster.
GROUP = 500


class StackedActNorm(nn.Module):
    """Scale and shift each feature of K models, z = x exp(s) + t, started from the first batch.

    Args:
        features: D.
        models: K.
    """

    started: Tensor

    def __init__(self, features: int, models: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(models, features))
        self.shift = nn.Parameter(torch.zeros(models, features))
        self.register_buffer("started", torch.zeros(models))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (K, D, B) to z and log-determinants (K, B)."""
        if self.training and x.shape[-1] > 0 and not bool(self.started.all()):
            self._start(x.detach())
        z = x * self.log_scale.exp().unsqueeze(-1) + self.shift.unsqueeze(-1)
        return z, self.log_scale.sum(-1, keepdim=True).expand(-1, x.shape[-1])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z (K, D, B) back."""
        x = (z - self.shift.unsqueeze(-1)) * (-self.log_scale).exp().unsqueeze(-1)
        return x, -self.log_scale.sum(-1, keepdim=True).expand(-1, z.shape[-1])

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        if x.shape[-1] == 1:
            raise ValueError("StackedActNorm: expected a first batch of two samples or more, got 1")
        variance, mean = torch.var_mean(x, -1)
        self.log_scale.copy_(-0.5 * variance.clamp(min=VARIANCE_FLOOR).log())
        self.shift.copy_(-mean * self.log_scale.exp())
        self.started.fill_(1)


class OperatorChain(Bijection):
    """Compose residual, inverse residual and monotone blocks, and scales, in any order.

    The log-determinants are exact: the Jacobian of each net is carried along.

    Args:
        layout: the parts from data to latents; each block takes the next net.
        nets: as many nets as there are blocks.

    Shapes: x and z (K, B, D); logdet (K, B).

    Raises:
        NotConverged: of a pass, where a block's equation was not solved to rounding.
    """

    def __init__(self, layout: Sequence[Part], nets: LipschitzNets) -> None:
        super().__init__()
        unknown = [part for part in layout if part not in PARTS]
        blocks = sum(part in KINDS for part in layout)
        models, count = nets.biases[0].shape[:2]
        if unknown or blocks != count:
            raise ValueError(
                f"OperatorChain: expected {count} blocks out of {', '.join(PARTS)}, "
                f"got {list(layout)}"
            )
        self.layout = tuple(layout)
        self.nets = nets
        self.scales = nn.ModuleList(
            StackedActNorm(nets.features, models) for part in layout if part == "actnorm"
        )

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.transform(x, logdet=True)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._in_groups(self._back, z, logdet=True)

    def inverse(self, z: Tensor) -> Tensor:
        return self._in_groups(self._back, z, logdet=False)[0]

    def transform(self, x: Tensor, *, logdet: bool) -> tuple[Tensor, Tensor]:
        """Return z, and log-determinants of the scales alone unless `logdet`."""
        return self._in_groups(self._forth, x, logdet=logdet)

    def _in_groups(
        self, way: Callable[..., tuple[Tensor, Tensor]], x: Tensor, *, logdet: bool
    ) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled() or self.training or x.device.type != "cpu":
            return way(x, logdet=logdet)
        parts = [way(part, logdet=logdet) for part in x.split(GROUP, -2)]
        return torch.cat([z for z, _ in parts], -2), torch.cat([term for _, term in parts], -1)

    def _forth(self, x: Tensor, *, logdet: bool) -> tuple[Tensor, Tensor]:
        nets, scales = iter(self.nets.nets()), iter(self.scales)
        h, total = x.mT, x.new_zeros(x.shape[:-1])
        for part in self.layout:
            if part == "actnorm":
                h, term = next(scales)(h)
            else:
                h, term = block(part, next(nets), h, logdet=logdet)
            total = total + term
        return h.mT, total

    def _back(self, z: Tensor, *, logdet: bool) -> tuple[Tensor, Tensor]:
        nets = reversed(self.nets.nets())
        scales = reversed([cast(StackedActNorm, scale) for scale in self.scales])
        h, total = z.mT, z.new_zeros(z.shape[:-1])
        for part in reversed(self.layout):
            if part == "actnorm":
                h, term = next(scales).inverse(h)
            else:
                h, term = inverse(part, next(nets), h, logdet=logdet)
            total = total + term
        return h.mT, total
