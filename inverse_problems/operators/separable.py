"""Measurements that act on columns and on rows one after the other: blur and down-sampling."""

from typing import Literal

import torch
from torch import Tensor

from inverse_problems.operators.base import LinearOperator

Boundary = Literal["circular", "zero"]


class SeparableOperator(LinearOperator):
    """Multiply each channel X by a matrix from either side, Y = V X U^T.

    Args:
        shape: (C, H, W) of the images.
        vertical: V (h, H), acts along columns.
        horizontal: U (w, W), acts along rows.

    Shapes: x (*batch, C, H, W), y (*batch, C, h, w), both in the dtype of the matrices.

    Raises:
        ValueError: a matrix does not fit the images.
    """

    vertical: Tensor
    horizontal: Tensor

    def __init__(self, shape: tuple[int, int, int], vertical: Tensor, horizontal: Tensor) -> None:
        super().__init__(shape, (shape[0], len(vertical), len(horizontal)))
        if (vertical.shape[1], horizontal.shape[1]) != shape[1:]:
            raise ValueError(
                f"SeparableOperator: expected matrices (h, {shape[1]}) and (w, {shape[2]}), got "
                f"{tuple(vertical.shape)} and {tuple(horizontal.shape)}"
            )
        self.register_buffer("vertical", vertical)
        self.register_buffer("horizontal", horizontal)

    def forward(self, x: Tensor) -> Tensor:
        return self.vertical @ x @ self.horizontal.mT

    def adjoint(self, y: Tensor) -> Tensor:
        return self.vertical.mT @ y @ self.horizontal

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """Return A^+ y; of each matrix, singular values that are rounding errors count as zero."""
        return torch.linalg.pinv(self.vertical) @ y @ torch.linalg.pinv(self.horizontal).mT


def gaussian_blur(
    shape: tuple[int, int, int],
    std: float,
    boundary: Boundary = "circular",
    radius: int | None = None,
    dtype: torch.dtype | None = None,
) -> SeparableOperator:
    """Return the convolution with a normalised Gaussian kernel.

    Args:
        shape: (C, H, W) of the images; the blurred ones have the same.
        std: standard deviation of the kernel in pixels.
        boundary: what lies beyond the border: the image again, or zeros.
        radius: the kernel has 2 radius + 1 pixels a side; None for four standard deviations.
        dtype: of the matrices; None for torch's default.

    Raises:
        ValueError: the standard deviation is not positive, or the radius is negative.
    """
    if std <= 0 or (radius is not None and radius < 0):
        raise ValueError(f"gaussian_blur: got std {std} and radius {radius}, expected std > 0")
    reach = int(4 * std + 0.5) if radius is None else radius
    offsets = torch.arange(-reach, reach + 1)
    kernel = (-0.5 * (offsets.double() / std) ** 2).exp()
    kernel = (kernel / kernel.sum()).to(dtype or torch.get_default_dtype())
    vertical, horizontal = (_convolution(kernel, offsets, size, boundary) for size in shape[1:])
    return SeparableOperator(shape, vertical, horizontal)


def _convolution(kernel: Tensor, offsets: Tensor, size: int, boundary: Boundary) -> Tensor:
    """Return the matrix (size, size) of a convolution along one axis."""
    rows = torch.arange(size)[:, None].expand(-1, len(offsets))
    columns = rows + offsets
    values = kernel.expand_as(columns)
    if boundary == "circular":
        columns = columns % size
    else:
        values = values * ((columns >= 0) & (columns < size))
        columns = columns.clamp(0, size - 1)
    # A kernel wider than the image meets a pixel more than once.
    matrix = kernel.new_zeros(size, size)
    return matrix.index_put((rows, columns), values, accumulate=True)


def average_pooling(
    shape: tuple[int, int, int], factor: int, dtype: torch.dtype | None = None
) -> SeparableOperator:
    """Return the means of squares of `factor` pixels a side, which do not overlap.

    Raises:
        ValueError: the factor does not divide height and width.
    """
    _check(shape, factor)
    return _by_blocks(shape, torch.full((factor,), 1 / factor, dtype=dtype))


def every_nth(
    shape: tuple[int, int, int], factor: int, dtype: torch.dtype | None = None
) -> SeparableOperator:
    """Return the first pixel of each such square, without a filter before it.

    Raises:
        ValueError: the factor does not divide height and width.
    """
    _check(shape, factor)
    first = torch.zeros(factor, dtype=dtype)
    first[0] = 1
    return _by_blocks(shape, first)


def _by_blocks(shape: tuple[int, int, int], weights: Tensor) -> SeparableOperator:
    blocks = [size // len(weights) for size in shape[1:]]
    return SeparableOperator(shape, *(torch.block_diag(*weights.expand(k, 1, -1)) for k in blocks))


def _check(shape: tuple[int, int, int], factor: int) -> None:
    if factor < 1 or shape[1] % factor or shape[2] % factor:
        raise ValueError(f"the factor must divide {shape[1]} x {shape[2]} pixels, got {factor}")
