"""LU layers that multiply dense matrices by masks: the usual way to write them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.bijections.lu import LULinear


class MaskedLU(nn.Module):
    """Map z = L (U x) + b with both factors dense and multiplied by a mask at each use.

    Args:
        layer: ours, whose numbers are taken over.

    Shapes: x and z (B, D); logdet (B,).
    """

    ones_above: Tensor
    ones_below: Tensor
    eye: Tensor

    def __init__(self, layer: LULinear) -> None:
        super().__init__()
        packed = layer.packed.detach()
        self.upper = nn.Parameter(packed.clone())
        self.lower = nn.Parameter(packed.clone())
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("ones_above", torch.ones_like(packed).triu())
        self.register_buffer("ones_below", torch.ones_like(packed).tril(-1))
        self.register_buffer("eye", torch.eye(layer.features, device=packed.device))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return L and U, (D, D) each."""
        return self.lower * self.ones_below + self.eye, self.upper * self.ones_above

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self.factors()
        z = F.linear(F.linear(x, upper), lower, self.bias)
        return z, self._logdet(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (B, D) and the log-determinant (B,) of the inverse."""
        lower, upper = self.factors()
        half = torch.linalg.solve_triangular(
            lower, (z - self.bias).T, upper=False, unitriangular=True
        )
        return torch.linalg.solve_triangular(upper, half, upper=True).T, -self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        return self.upper.diagonal().abs().log().sum().expand(len(x))
