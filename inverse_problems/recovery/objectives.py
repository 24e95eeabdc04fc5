"""What a recovery minimises, image by image.

The numbers F1 to F9 name the formulations of the lecture and of Asim et al., 2020
(https://arxiv.org/abs/1905.11672):

| | objective | here |
| --- | --- | --- |
| F1 | max p(x) subject to A x = y | `ConstrainedLikelihood` |
| F2 | min -log p(x) + gamma |A x - y|^2 | `ImagePosterior` |
| F3 | min |A G(z) - y|^2 | `LatentObjective` |
| F4 | min |A G(z) - y|^2 + gamma |z| | penalty "norm" |
| F5 | min |A G(z) - y|^2 + gamma |z|^2 | penalty "squared" |
| F6 | F4 or F5 with A = I | denoising |
| F7 | F4 or F5 with A a mask | inpainting |
| F8 | F3 with a GAN in place of a flow | another prior |
| F9 | min |A W w - y|^2 + gamma |w|_1, x = W w | penalty "absolute", W in place of G |

**Two conventions of gamma.** In F2 it weights the data, in F4 to F9 the penalty, so they are
reciprocal: with noise of standard deviation sigma per measurement, -log p(y | x) is
|A x - y|^2 / (2 sigma^2) + const, so F2 is the image-space MAP for gamma = 1 / (2 sigma^2)
(`map_gamma`). Multiplied by 2 sigma^2, with |z|^2 / 2 in place of -log p(x), it is F5 for
gamma = sigma^2 (`derived_gamma`): the MAP of z under N(0, I), which lacks the log-determinant of
F2. F4 has the stationary points of F5 where gamma_F4 = 2 |z| gamma_F5 (`norm_gamma`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from common.errors import UserError
from inverse_problems.operators.base import LinearOperator
from inverse_problems.priors.base import Prior
from inverse_problems.recovery.placed import rows_of

Penalty = Literal["none", "norm", "squared", "absolute"]
Decode = Callable[[Tensor], Tensor]


def derived_gamma(sigma: Tensor | float) -> Tensor:
    """Return the gamma of F5 that noise of this standard deviation per measurement implies."""
    return torch.as_tensor(sigma).square()


def norm_gamma(sigma: Tensor | float, norm: Tensor | float) -> Tensor:
    """Return the gamma of F4 whose stationary points are those of F5, at the norm of z there."""
    return 2 * torch.as_tensor(norm) * derived_gamma(sigma)


def map_gamma(sigma: Tensor | float) -> Tensor:
    """Return the gamma of F2, which weights the data, for noise of this standard deviation."""
    return 1 / (2 * derived_gamma(sigma))


def penalty(z: Tensor, kind: Penalty) -> Tensor:
    """Return the penalty (B,) of z (B, k); that of "norm" has gradient 0 at z = 0."""
    if kind == "none":
        return torch.zeros_like(z[..., 0])
    if kind == "norm":
        # Not the root of a sum of squares, whose gradient at 0 is no number, whatever its factor.
        return torch.linalg.vector_norm(z, dim=-1)
    if kind == "squared":
        return z.square().sum(-1)
    return z.abs().sum(-1)


@dataclass(frozen=True)
class Measurements:
    """Hold measurements y of B images and compare images with them.

    Args:
        operator: A; `Grouped` ones measure the images by their places in the batch.
        y: (B, *measured).
        mask: bool, which entries of y exist, where images have different numbers of them; it has
            the shape of y or of one image's measurements. None if all do. What y holds elsewhere
            does not matter.
    """

    operator: LinearOperator
    y: Tensor
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        measured = tuple(self.operator.measured)
        if tuple(self.y.shape[1:]) != measured:
            raise UserError(
                f"measurements: expected (images, {', '.join(map(str, measured))}), "
                f"got {tuple(self.y.shape)}; give those of this operator"
            )
        if self.mask is not None and tuple(self.mask.shape) not in (measured, self.y.shape):
            raise UserError(
                f"mask of measurements: expected {measured} or {tuple(self.y.shape)}, "
                f"got {tuple(self.mask.shape)}"
            )

    def difference(self, x: Tensor) -> Tensor:
        """Return A x - y (B, *measured), 0 where nothing was measured."""
        difference = self.operator(x) - self.y
        if self.mask is not None:
            difference = torch.where(self.mask, difference, 0)
        return difference

    def residual(self, x: Tensor) -> Tensor:
        """Return |A x - y|^2 (B,), a sum over measurements."""
        return self.difference(x).flatten(1).square().sum(-1)

    def take(self, rows: Tensor) -> "Measurements":
        """Return those of the images with these numbers, int64."""
        each = self.mask is not None and self.mask.dim() == self.y.dim()
        mask = self.mask[rows] if each and self.mask is not None else self.mask
        operator = rows_of(self.operator, rows, len(self.y))
        return Measurements(operator, self.y[rows], mask)


@dataclass(frozen=True)
class LatentObjective:
    """|A G(z) - y|^2 + gamma penalty(z): F3 to F9.

    Args:
        decode: G, (B, k) -> (B, C, H, W).
        data: A and y.
        gamma: weight of the penalty, (B,) or one for all.
        kind: of the penalty.
    """

    decode: Decode
    data: Measurements
    gamma: Tensor
    kind: Penalty = "none"

    def __call__(self, z: Tensor) -> Tensor:
        """Return the values (B,) at z (B, k)."""
        residual = self.data.residual(self.decode(z))
        if self.kind == "none":
            return residual
        return residual + self.gamma * penalty(z, self.kind)

    def take(self, rows: Tensor) -> Self:
        """Return that of the images with these numbers, int64."""
        return replace(self, data=self.data.take(rows), gamma=_each(self.gamma, rows))

    def image(self, z: Tensor) -> Tensor:
        """Return G(z) (B, C, H, W)."""
        return self.decode(z)


@dataclass(frozen=True)
class ImagePosterior:
    """-log p(G(z)) + gamma |A G(z) - y|^2: F2, with the log-determinant, in coordinates z.

    A change of coordinates moves no minimum: G(z) at the minimum over z is the image of highest
    posterior density, whereas F5 finds the z of highest density.

    Args:
        prior: a bijection with a density.
        data: A and y.
        gamma: weight of the data, (B,) or one for all.
    """

    prior: Prior
    data: Measurements
    gamma: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """Return the values (B,) at z (B, k)."""
        x = self.prior.decode(z)
        return self.gamma * self.data.residual(x) - self.prior.log_prob(x)

    def take(self, rows: Tensor) -> Self:
        """Return that of the images with these numbers, int64."""
        return replace(self, data=self.data.take(rows), gamma=_each(self.gamma, rows))

    def image(self, z: Tensor) -> Tensor:
        """Return G(z) (B, C, H, W)."""
        return self.prior.decode(z)


@dataclass(frozen=True)
class ConstrainedLikelihood:
    """-log p(x) on the images that satisfy A x = y: F1, for measurements without noise.

    The variables w (B, n) are an image of which the component that A sees is replaced by what was
    measured, x = w + A^+ (y - A w). So every point satisfies the constraint as well as A^+ does,
    and the problem has no other one.

    Args:
        prior: with a density.
        data: A, which must have a pseudo-inverse, and y; no mask.
    """

    prior: Prior
    data: Measurements

    def __post_init__(self) -> None:
        if self.data.mask is not None:
            raise UserError(
                "maximum likelihood: expected measurements without a mask, got one; "
                "give images with different numbers of measurements to separate calls"
            )

    def __call__(self, w: Tensor) -> Tensor:
        """Return the values (B,) at w (B, n)."""
        return -self.prior.log_prob(self.image(w))

    def take(self, rows: Tensor) -> Self:
        """Return that of the images with these numbers, int64."""
        return replace(self, data=self.data.take(rows))

    def image(self, w: Tensor) -> Tensor:
        """Return the image x (B, C, H, W) of the variables."""
        x = w.reshape(-1, *self.prior.shape)
        return x - self.data.operator.pseudo_inverse(self.data.difference(x))


def _each(gamma: Tensor, rows: Tensor) -> Tensor:
    return gamma[rows] if gamma.dim() > 0 else gamma
