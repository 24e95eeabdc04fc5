"""Factor out half of the channels, as multi-scale flows do."""

import torch
from torch import Tensor

from common.bijections.base import Bijection


class OnFirstHalf(Bijection):
    """Transform the first half of the channels; the second half is latent already.

    The latents of all scales stay in one tensor, so the event keeps its size and a multi-scale flow
    is an ordinary chain.

    Args:
        inner: the bijection of the first half; it must keep the event's shape.

    Shapes: x and z (*batch, C, ...) with even C, where `inner` sees C/2; logdet (*batch,).

    Reference: Density estimation using Real NVP, Dinh, Sohl-Dickstein and Bengio, 2017, eqs. 13-16.
    """

    def __init__(self, inner: Bijection) -> None:
        super().__init__()
        self.inner = inner
        self.event_dims = inner.event_dims

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self._halves(x)
        first, logdet = self.inner.forward_and_logdet(first)
        return torch.cat((first, second), dim=-self.event_dims), logdet

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self._halves(z)
        first, logdet = self.inner.inverse_and_logdet(first)
        return torch.cat((first, second), dim=-self.event_dims), logdet

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        channels = x.shape[-self.event_dims]
        if channels % 2:
            raise ValueError(f"OnFirstHalf: expected an even number of channels, got {channels}")
        first, second = x.chunk(2, dim=-self.event_dims)
        return first, second
