"""Batch normalisation as a bijection with an exact log-determinant."""

import torch
from torch import Tensor

from common.bijections.base import Bijection


class RunningBatchNorm(Bijection):
    """Normalise by running statistics, z = (x - mean) / sqrt(var + eps).

    In training mode the forward direction first moves the running statistics towards those of the
    batch; they are constants of the map, so the log-determinant is exact and one event never
    depends on another. The inverse, and evaluation mode, change nothing. There are no parameters;
    the statistics are buffers and saved with the model. They lag behind what is learnt and the
    gradient does not see them move, so late in training the likelihood can fall again; `eval()` on
    the norms alone freezes them, and training goes on as exact maximum likelihood.

    Args:
        channels: C of images (statistics over batch and pixels), D of vectors (over the batch).
        event_dims: 3 for images, 1 for vectors.
        momentum: weight of the newest batch in the running statistics.
        eps: added to the variance.

    Shapes: x and z (*batch, C, H, W) or (*batch, D); logdet (*batch,).

    Reference: Density estimation using Real NVP, Dinh, Sohl-Dickstein and Bengio, 2017, section
    3.7.
    """

    mean: Tensor
    var: Tensor

    def __init__(
        self, channels: int, event_dims: int = 1, momentum: float = 0.005, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.event_dims = event_dims
        self.momentum = momentum
        self.eps = eps
        shape = (channels,) + (1,) * (event_dims - 1)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("var", torch.ones(shape))

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.training and x.numel() > 0:  # the mean of no event is NaN
            self._follow(x.detach())
        return (x - self.mean) * (self.var + self.eps).rsqrt(), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (self.var + self.eps).sqrt() + self.mean, -self._logdet(z)

    @torch.no_grad()
    def _follow(self, x: Tensor) -> None:
        channel = x.dim() - self.event_dims
        dims = [dim for dim in range(x.dim()) if dim != channel]
        if not dims:  # one vector without a batch dimension
            x, dims = x[None], [0]
        # The biased variance: that of a single vector is 0, not NaN.
        var, mean = torch.var_mean(x, dims, correction=0)
        self.mean.lerp_(mean.view_as(self.mean), self.momentum)
        self.var.lerp_(var.view_as(self.var), self.momentum)

    def _logdet(self, x: Tensor) -> Tensor:
        batch, event = x.shape[: x.dim() - self.event_dims], x.shape[x.dim() - self.event_dims :]
        per_channel = event[1:].numel()
        return (-0.5 * per_channel * (self.var + self.eps).log().sum()).expand(batch)

    def extra_repr(self) -> str:
        return f"{len(self.mean)}, momentum={self.momentum}, eps={self.eps}"
