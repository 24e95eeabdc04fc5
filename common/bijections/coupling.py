"""Affine coupling: half of an event scales and shifts the other half."""

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection


class AffineCoupling(Bijection):
    """Scale and shift what the mask leaves free, z = mask x + (1 - mask) (x exp(s) + t).

    s = s_scale tanh(s_net(mask x)) and t = t_scale t_net(mask x) + t_bias. The three tensors have
    the event's shape and start at 0, so the coupling starts as the identity; |s| never exceeds
    |s_scale|.

    Args:
        mask: ones where an entry stays and conditions, zeros where it changes; its shape is that of
            the event, (D,) or (C, H, W).
        s_net: network of the log-scale, (*batch, *event) in and out.
        t_net: network of the shift, (*batch, *event) in and out.

    Shapes: x and z (*batch, *event); logdet (*batch,), the sum of (1 - mask) s.

    Reference: Density estimation using Real NVP, Dinh, Sohl-Dickstein and Bengio, 2017, eq. 9.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, s_net: nn.Module, t_net: nn.Module) -> None:
        super().__init__()
        self.event_dims = mask.dim()
        # Not saved: the mask is part of the architecture, not of what was learnt.
        self.register_buffer("mask", mask.to(torch.get_default_dtype()), persistent=False)
        self.s_net = s_net
        self.t_net = t_net
        self.s_scale = nn.Parameter(torch.zeros(mask.shape))
        self.t_scale = nn.Parameter(torch.zeros(mask.shape))
        self.t_bias = nn.Parameter(torch.zeros(mask.shape))

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._scale_and_shift(x)
        return x * s.exp() + t, self.sum_event(s)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._scale_and_shift(z)  # z equals x where the mask is 1
        return (z - t) * (-s).exp(), -self.sum_event(s)

    def _scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t, both exactly 0 where the mask is 1."""
        kept, free = x * self.mask, 1 - self.mask
        # Masking the parameters in place of the products: they have no batch dimension.
        s = (free * self.s_scale) * self.s_net(kept).tanh()
        t = (free * self.t_scale) * self.t_net(kept) + free * self.t_bias
        return s, t

    def extra_repr(self) -> str:
        return f"event={tuple(self.mask.shape)}"
