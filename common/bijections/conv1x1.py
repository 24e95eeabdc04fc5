"""Invertible 1x1 convolutions: one linear map of the channels at every pixel."""

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection
from common.bijections.lu import LULinear


class LUConv1x1(Bijection):
    """Permute the channels at random once and for all, then apply an LU layer at each pixel.

    Both are one matrix, so a pass is one product; the log-determinant is that of the LU layer
    times the number of pixels.

    Args:
        channels: C.
        generator: a CPU generator that draws the permutation; torch's global one if None.

    Shapes: x and z (*batch, C, H, W); logdet (*batch,).

    Source: Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019,
    https://arxiv.org/abs/1906.04032, section 3.2 and appendix on images.
    """

    event_dims = 3
    permutation: Tensor

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.lu = LULinear(channels)
        self.register_buffer("permutation", torch.randperm(channels, generator=generator))

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        packed = self.lu.packed
        product = (packed.tril(-1) + _eye(packed)) @ packed.triu()
        # z_i = sum_j A_ij x_p(j): the columns of A in the order of the channels of x.
        z = mix(x, product[:, self.permutation.argsort()], self.lu.bias)
        return z, self._logdet(x)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        packed = self.lu.packed
        half = torch.linalg.solve_triangular(packed, _eye(packed), upper=False, unitriangular=True)
        inverse = torch.linalg.solve_triangular(packed, half, upper=True)
        bias = self.lu.bias
        x = mix(z - bias[:, None, None], inverse[self.permutation.argsort()])
        return x, -self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        log_volume = self.lu.packed.diagonal().abs().log().sum()
        return (x.shape[-2:].numel() * log_volume).expand(x.shape[:-3])


class FullConv1x1(Bijection):
    """Multiply the channels at each pixel by a free matrix W, which starts as a random rotation.

    The log-determinant ln |det W| costs a factorisation of W per pass, the inverse another.

    Args:
        channels: C.
        generator: a CPU generator that draws the rotation; torch's global one if None.

    Shapes: x and z (*batch, C, H, W); logdet (*batch,).

    Reference: Glow: Generative Flow with Invertible 1x1 Convolutions, Kingma and Dhariwal, 2018,
    https://arxiv.org/abs/1807.03039, section 3.2.
    """

    event_dims = 3

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        gaussian = torch.randn(channels, channels, generator=generator)
        self.weight = nn.Parameter(torch.linalg.qr(gaussian)[0].contiguous())

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return mix(x, self.weight), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return mix(z, torch.linalg.inv(self.weight)), -self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        log_volume = torch.linalg.slogdet(self.weight).logabsdet
        return (x.shape[-2:].numel() * log_volume).expand(x.shape[:-3])

    def extra_repr(self) -> str:
        return f"{len(self.weight)}"


def _eye(like: Tensor) -> Tensor:
    return torch.eye(len(like), dtype=like.dtype, device=like.device)


def mix(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the channels of x (*batch, C, H, W) by a matrix (C, C) and add a bias (C,)."""
    planes = x.reshape(-1, x.shape[-3], x.shape[-2:].numel())
    # One product for each image: on a CPU a convolution takes four times as long, and `matmul`
    # chooses between two sums, which round differently, by whether gradients are wanted.
    matrices = matrix.expand(len(planes), -1, -1)
    if bias is None:
        return torch.bmm(matrices, planes).reshape(x.shape)
    return torch.baddbmm(bias[:, None], matrices, planes).reshape(x.shape)
