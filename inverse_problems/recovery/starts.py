"""Where a recovery starts: latents z0 (B, k), or images that are still to be encoded.

Reference: Invertible generative models for inverse problems: mitigating representation error and
dataset bias, Asim, Daniels, Leong, Ahmed and Hand, 2020, https://arxiv.org/abs/1905.11672 (the
strategies; sizes and distributions as in the authors' code).
"""

from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from common.errors import UserError
from common.training.seeding import generator
from inverse_problems.operators.base import LinearOperator
from inverse_problems.priors.base import Prior

StartName = Literal["zero", "normal", "norm", "null_space", "pseudo_inverse", "image"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Start:
    """Choose where a recovery starts.

    Args:
        kind: "zero", the mode of the latents; "normal", N(0, size^2); "norm", a random direction
            of length `size`; "null_space", the truth plus what A does not see, of length `size`
            (published: 5); "pseudo_inverse", A^+ y clamped to [0, 1]; "image", any image, such as
            the Lasso's solution or the noisy image.
        size: see there.
        restarts: starts of each image; the one whose recovery has the lowest residual wins.
        seed: of what is drawn; a start is a function of it, the restart and the batch's shape.
    """

    kind: StartName = "zero"
    size: NonNegativeFloat = 0.0
    restarts: Annotated[int, Field(ge=1, le=1000)] = 1
    seed: NonNegativeInt = 0

    def draw(
        self, restart: int, prior: Prior, operator: LinearOperator, y: Tensor, image: Tensor | None
    ) -> Tensor:
        """Return latents (B, k), or images (B, C, H, W) to be encoded.

        Args:
            restart: number of the restart.
            prior: whose latents.
            operator: A.
            y: measurements (B, *measured).
            image: the truth for "null_space", what is encoded for "image"; (B, C, H, W).

        Raises:
            UserError: there is no such image, or no null space.
        """
        images, noise = len(y), generator(self.seed, restart)
        if self.kind == "zero":
            return y.new_zeros(images, prior.latents)
        if self.kind == "normal":
            return self.size * _normal(images, prior.latents, y, noise)
        if self.kind == "norm":
            return fixed_norm(_normal(images, prior.latents, y, noise), self.size)
        if self.kind == "pseudo_inverse":
            return operator.pseudo_inverse(y).clamp(0, 1)
        if image is None or image.shape != (images, *prior.shape):
            got = None if image is None else tuple(image.shape)
            raise UserError(
                f"start {self.kind}: expected images {(images, *prior.shape)}, got {got}"
            )
        if self.kind == "image":
            return image
        return null_space(operator, image, self.size, noise)


def fixed_norm(noise: Tensor, norm: float) -> Tensor:
    """Return vectors of one norm in the directions of Gaussian noise (B, k)."""
    return norm * torch.nn.functional.normalize(noise, dim=-1)


def null_space(
    operator: LinearOperator, truth: Tensor, norm: float, noise: torch.Generator
) -> Tensor:
    """Return truth + v with A v = 0, v uniform among directions, of the given norm.

    Adversarial: measurements cannot tell this image from the truth (B, C, H, W).

    Raises:
        UserError: A sees every direction.
    """
    if operator.m >= operator.n:
        raise UserError(
            f"start in the null space: {operator.m} measurements of {operator.n} pixels leave "
            "none; use another start or fewer measurements"
        )
    drawn = _normal(len(truth), operator.n, truth, noise).reshape(truth.shape)
    # A projection of Gaussian noise is Gaussian on the null space, in any orthonormal basis.
    v = drawn - operator.pseudo_inverse(operator(drawn))
    return truth + norm * v / torch.linalg.vector_norm(v, dim=(1, 2, 3), keepdim=True)


def encode(prior: Prior, x: Tensor, chunk: int) -> Tensor:
    """Return z0 = G^-1(x) (B, k) of images (B, C, H, W), `chunk` at a time.

    Raises:
        UserError: the prior is no bijection, or cannot invert an image.
    """
    if not prior.invertible:
        raise UserError(
            f"start from an image: {type(prior).__name__} is no bijection; "
            "use the start zero or normal"
        )
    with torch.no_grad():
        z = torch.cat([prior.encode(part) for part in x.split(chunk)])
    broken = int((~z.isfinite().all(-1)).sum())
    if broken:
        raise UserError(
            f"start from an image: the prior maps {broken} of {len(z)} images to latents that are "
            "not finite; use another start"
        )
    return z


def _normal(images: int, size: int, like: Tensor, noise: torch.Generator) -> Tensor:
    # In float64 and cast, so that a start does not depend on the precision of the recovery.
    drawn = torch.randn((images, size), generator=noise, dtype=torch.float64, device=noise.device)
    return drawn.to(like.device, like.dtype)
