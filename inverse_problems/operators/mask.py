"""The measurement of inpainting: some pixels of the image."""

import torch
from torch import Tensor

from inverse_problems.operators.base import LinearOperator


class Mask(LinearOperator):
    """Set the hidden pixels to zero, A = diag(M); its pseudo-inverse is itself.

    Measurements have the shape of the image, so m counts the hidden pixels too, of which nothing
    is known; `known` counts the others.

    Args:
        shape: (C, H, W) of the images.
        keep: bool, (H, W) or (C, H, W); False where a pixel is hidden.

    Shapes: x and y (*batch, C, H, W).

    Raises:
        ValueError: `keep` is not bool or does not fit the images.
    """

    keep: Tensor

    def __init__(self, shape: tuple[int, int, int], keep: Tensor) -> None:
        super().__init__(shape, shape)
        if keep.dtype != torch.bool or tuple(keep.shape) not in (shape, shape[1:]):
            raise ValueError(
                f"Mask: expected bool {shape[1:]} or {shape}, got {keep.dtype} {tuple(keep.shape)}"
            )
        self.register_buffer("keep", keep.expand(shape).contiguous())

    @property
    def known(self) -> int:
        """Return the number of values of an image that are measured."""
        return int(self.keep.sum())

    def forward(self, x: Tensor) -> Tensor:
        # Not a product: what is hidden may be NaN.
        return torch.where(self.keep, x, 0.0)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        return self.forward(y)

    def extra_repr(self) -> str:
        return f"shape={self.shape}, known={self.known}"


def centred_square(height: int, width: int, side: float = 0.3) -> Tensor:
    """Hide a square in the middle: keep (H, W), bool.

    Hidden are the rows int(H (1 - side) / 2) to int(H (1 + side) / 2), without the last, and the
    columns alike; at the default side those of Asim et al., 2020, https://arxiv.org/abs/1905.11672.

    Raises:
        ValueError: `side` is not a share from 0 to 1.
    """
    share = _share("side", side)
    # In this order 0.3 gives the published factors 0.35 and 0.65 to the last bit.
    low, high = 0.5 - share / 2, 0.5 + share / 2
    keep = torch.ones(height, width, dtype=torch.bool)
    keep[int(height * low) : int(height * high), int(width * low) : int(width * high)] = False
    return keep


def random_pixels(height: int, width: int, keep: float, generator: torch.Generator) -> Tensor:
    """Keep each pixel with probability `keep`, independently: (H, W), bool.

    Raises:
        ValueError: `keep` is not a share from 0 to 1.
    """
    drawn = torch.rand(height, width, generator=generator, dtype=torch.float64)
    return drawn < _share("keep", keep)


def left_band(height: int, width: int, hide: float) -> Tensor:
    """Hide the first int(W hide) columns: keep (H, W), bool.

    Raises:
        ValueError: `hide` is not a share from 0 to 1.
    """
    keep = torch.ones(height, width, dtype=torch.bool)
    keep[:, : int(width * _share("hide", hide))] = False
    return keep


def bottom_band(height: int, width: int, hide: float) -> Tensor:
    """Hide the last int(H hide) rows: keep (H, W), bool.

    Raises:
        ValueError: `hide` is not a share from 0 to 1.
    """
    keep = torch.ones(height, width, dtype=torch.bool)
    keep[height - int(height * _share("hide", hide)) :] = False
    return keep


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share from 0 to 1, got {value}")
    return value
