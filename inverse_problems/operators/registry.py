"""One constructor per kind of measurement: what every operator must pass.

The contract tests take each entry in turn. A new operator is added here and is tested.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.cosine import CosineOperator
from inverse_problems.operators.dense import DenseOperator
from inverse_problems.operators.gaussian import GaussianOperator
from inverse_problems.operators.grouped import Grouped
from inverse_problems.operators.identity import Identity
from inverse_problems.operators.mask import (
    Mask,
    bottom_band,
    centred_square,
    left_band,
    random_pixels,
)
from inverse_problems.operators.physics import PhysicsOperator
from inverse_problems.operators.separable import (
    average_pooling,
    every_nth,
    gaussian_blur,
)

SHAPE = (2, 6, 8)
PIXELS = 96


@dataclass(frozen=True)
class Entry:
    """Say how to make an operator for images of `SHAPE`.

    Args:
        make: returns the same one at every call.
        groups: a batch is a multiple of it.
    """

    make: Callable[[], LinearOperator]
    groups: int = 1


def _seed(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _gaussian(m: int, seed: int = 0) -> GaussianOperator:
    return GaussianOperator(SHAPE, m, _seed(seed))


def _square_matrix() -> DenseOperator:
    """Return a well conditioned matrix: that of a square Gaussian one may be anything."""
    return DenseOperator(SHAPE, _gaussian(PIXELS).matrix + 2 * torch.eye(PIXELS))


class _Halves:
    """Have deepinv's three methods: measure the mean of the left half and of the right half."""

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (2, -1)).mean((-3, -1))

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.A_dagger(y) / (SHAPE[1] * SHAPE[2] / 2)

    def A_dagger(self, y: torch.Tensor) -> torch.Tensor:
        return y[:, :, None].repeat_interleave(SHAPE[2] // 2, -1).expand(-1, *SHAPE)


OPERATORS: dict[str, Entry] = {
    "gaussian": Entry(lambda: _gaussian(20)),
    "gaussian of one measurement": Entry(lambda: _gaussian(1)),
    "gaussian of more measurements than pixels": Entry(lambda: _gaussian(PIXELS + 30)),
    "square matrix": Entry(_square_matrix),
    "cosine": Entry(lambda: CosineOperator(SHAPE, 37, _seed())),
    "cosine of all": Entry(lambda: CosineOperator(SHAPE, PIXELS, _seed())),
    "identity": Entry(lambda: Identity(SHAPE)),
    "centred square": Entry(lambda: Mask(SHAPE, centred_square(*SHAPE[1:]))),
    "random pixels": Entry(lambda: Mask(SHAPE, random_pixels(*SHAPE[1:], 0.4, _seed()))),
    "left band": Entry(lambda: Mask(SHAPE, left_band(*SHAPE[1:], 0.5))),
    "bottom band": Entry(lambda: Mask(SHAPE, bottom_band(*SHAPE[1:], 0.3))),
    "circular blur": Entry(lambda: gaussian_blur(SHAPE, 0.8)),
    "circular blur wider than the image": Entry(lambda: gaussian_blur(SHAPE, 1.0, radius=9)),
    "zero padded blur": Entry(lambda: gaussian_blur(SHAPE, 0.8, "zero")),
    "average pooling": Entry(lambda: average_pooling(SHAPE, 2)),
    "every second pixel": Entry(lambda: every_nth(SHAPE, 2)),
    "physics": Entry(lambda: PhysicsOperator(SHAPE, _Halves())),
    "grouped matrices": Entry(lambda: Grouped([_gaussian(30), _gaussian(21), _gaussian(33, 1)]), 3),
    "grouped matrices of many sizes": Entry(lambda: Grouped([_gaussian(3), _gaussian(40)]), 2),
    "grouped": Entry(
        lambda: Grouped(
            [_gaussian(20), average_pooling(SHAPE, 2), CosineOperator(SHAPE, 5, _seed())]
        ),
        3,
    ),
}
