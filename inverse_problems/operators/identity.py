"""The measurement of denoising: the image itself."""

from torch import Tensor

from inverse_problems.operators.base import LinearOperator


class Identity(LinearOperator):
    """Measure each pixel, A = I; the noise that is added makes the problem.

    Args:
        shape: (C, H, W) of the images.

    Shapes: x and y (*batch, C, H, W).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape, shape)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        return y
