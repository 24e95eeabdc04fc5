"""A measurement given by its matrix."""

import torch
from torch import Tensor
from torch.nn import functional

from inverse_problems.operators.base import LinearOperator


class DenseOperator(LinearOperator):
    """Multiply the pixels by a matrix of full rank.

    Args:
        shape: (C, H, W) of the images; n = C H W.
        matrix: A (m, n).

    Shapes: x (*batch, C, H, W), y (*batch, m), both in the dtype of the matrix.

    Raises:
        ValueError: the matrix has another number of columns than the images have pixels.
    """

    matrix: Tensor

    def __init__(self, shape: tuple[int, int, int], matrix: Tensor) -> None:
        super().__init__(shape, (len(matrix),))
        if matrix.dim() != 2 or matrix.shape[1] != self.n:
            raise ValueError(
                f"DenseOperator: expected a matrix (m, {self.n}) for images {shape}, got "
                f"{tuple(matrix.shape)}"
            )
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.flatten(-3), self.matrix)

    def adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.matrix).unflatten(-1, self.shape)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """Return A^+ y by a QR factorisation, whose error grows with the condition of A.

        The normal equations would square it. The factorisation is made at every call.
        """
        if self.m <= self.n:
            q, r = torch.linalg.qr(self.matrix.mT)
            weights = torch.linalg.solve_triangular(r.mT, y.unsqueeze(-1), upper=False)
            x = (q @ weights).squeeze(-1)
        else:
            q, r = torch.linalg.qr(self.matrix)
            x = torch.linalg.solve_triangular(r, (y @ q).unsqueeze(-1), upper=True).squeeze(-1)
        return x.unflatten(-1, self.shape)
