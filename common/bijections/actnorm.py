"""Scale and shift of channels, started from data."""

from typing import Any

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection


class ActNorm(Bijection):
    """Scale and shift each channel, z = x exp(s) + t, so that the first batch comes out normalised.

    The first forward pass in training mode sets s and t such that its own z has mean 0 and variance
    1 in each channel; from then on they are ordinary parameters. Whether that happened is a buffer
    and saved with the model: resumed training never starts anew. No pass waits for the device. Data
    parallel training must give all replicas the same first batch, or pass one before they are made.

    Args:
        channels: C of images (statistics over batch and pixels), D of vectors (over the batch).
        event_dims: 3 for images, 1 for vectors.
        eps: added to the first batch's variance.
        minimum_variance: what the first batch's variance counts as where it is smaller, so that a
            channel that is nearly constant is not blown up.

    Shapes: x and z (*batch, C, H, W) or (*batch, D); logdet (*batch,), pixels times the sum of s.

    Reference: Glow: Generative Flow with Invertible 1x1 Convolutions, Kingma and Dhariwal, 2018,
    https://arxiv.org/abs/1807.03039, section 3.1.
    """

    initialised: Tensor

    def __init__(
        self,
        channels: int,
        event_dims: int = 1,
        eps: float = 1e-6,
        minimum_variance: float = 0.0,
    ) -> None:
        super().__init__()
        self.event_dims = event_dims
        self.eps = eps
        self.minimum_variance = minimum_variance
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        self._waiting = True  # the flag as the host knows it

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and self._waiting and x.numel() > 0:
            self._start(x.detach())
        z = x * self._spread(self.log_scale.exp()) + self._spread(self.shift)
        return z, self._logdet(x)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = (z - self._spread(self.shift)) * self._spread((-self.log_scale).exp())
        return x, -self._logdet(z)

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        channel = x.dim() - self.event_dims
        dims = [dim for dim in range(x.dim()) if dim != channel]
        variance, mean = torch.var_mean(x, dims, correction=0)
        floored = variance.clamp(min=self.minimum_variance)
        self.log_scale.copy_(-0.5 * (floored + self.eps).log())
        self.shift.copy_(-mean * self.log_scale.exp())
        self.initialised.fill_(True)
        self._waiting = False

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._waiting = not bool(self.initialised)

    def _logdet(self, x: Tensor) -> Tensor:
        batch, event = x.shape[: x.dim() - self.event_dims], x.shape[x.dim() - self.event_dims :]
        return (event[1:].numel() * self.log_scale.sum()).expand(batch)

    def _spread(self, per_channel: Tensor) -> Tensor:
        return per_channel.reshape(-1, *[1] * (self.event_dims - 1))

    def extra_repr(self) -> str:
        return f"{len(self.shift)}, event_dims={self.event_dims}"
