"""Where a recovery starts: latents z0 (B, k), a function of the seed alone.

Reference: Invertible generative models for inverse problems: mitigating representation error and
dataset bias, Asim, Daniels, Leong, Ahmed and Hand, 2020, https://arxiv.org/abs/1905.11672 (the
strategies; sizes and distributions as in the authors' code).
"""

import torch
from torch import Tensor

from common.errors import UserError
from inverse_problems.operators.base import LinearOperator
from inverse_problems.priors.base import Prior

NULL_SPACE_NORM = 5.0


def zero(images: int, prior: Prior, like: Tensor) -> Tensor:
    """Return z0 = 0, the mode of the latents; `like` gives dtype and device."""
    return like.new_zeros(images, prior.latents)


def normal(
    images: int, prior: Prior, like: Tensor, std: float, generator: torch.Generator
) -> Tensor:
    """Draw z0 from N(0, std^2)."""
    return std * _noise(images, prior.latents, like, generator)


def fixed_norm(
    images: int, prior: Prior, like: Tensor, norm: float, generator: torch.Generator
) -> Tensor:
    """Draw z0 in a uniformly random direction, with the given norm."""
    noise = _noise(images, prior.latents, like, generator)
    return norm * torch.nn.functional.normalize(noise, dim=-1)


def from_image(prior: Prior, x: Tensor) -> Tensor:
    """Return z0 = G^-1(x) of images (B, C, H, W), as they are.

    This is the published start from the Lasso's solution (x is that solution), and from the noisy
    image in denoising (x is y, which must be an image).

    Raises:
        UserError: the prior is no bijection, or cannot invert an image.
    """
    if not prior.invertible:
        raise UserError(
            f"start from an image: {type(prior).__name__} is no bijection; "
            "use the start zero or normal"
        )
    with torch.no_grad():
        z = prior.encode(x)
    broken = int((~z.isfinite().all(-1)).sum())
    if broken:
        raise UserError(
            f"start from an image: the prior maps {broken} of {len(z)} images to latents that are "
            "not finite; use another start"
        )
    return z


def from_pseudo_inverse(prior: Prior, operator: LinearOperator, y: Tensor) -> Tensor:
    """Return z0 = G^-1(A^+ y), where A^+ y is clamped to [0, 1]."""
    return from_image(prior, operator.pseudo_inverse(y).clamp(0, 1))


def null_space(
    prior: Prior,
    operator: LinearOperator,
    truth: Tensor,
    generator: torch.Generator,
    norm: float = NULL_SPACE_NORM,
) -> Tensor:
    """Return z0 = G^-1(truth + v) with A v = 0, v uniform among directions, of the given norm.

    Adversarial: measurements cannot tell this start from the truth (B, C, H, W).

    Raises:
        UserError: as `from_image`, or A sees every direction.
    """
    noise = _noise(len(truth), operator.n, truth, generator).reshape(truth.shape)
    # A projection of Gaussian noise is Gaussian on the null space, in any orthonormal basis.
    v = noise - operator.pseudo_inverse(operator(noise))
    size = torch.linalg.vector_norm(v.flatten(1), dim=-1).reshape(-1, 1, 1, 1)
    # What rounding leaves of a null space of dimension 0 is no direction.
    tiny = 100 * torch.finfo(v.dtype).eps * operator.n**0.5
    if operator.m >= operator.n and bool((size < tiny).any()):
        raise UserError(
            f"start in the null space: {operator.m} measurements of {operator.n} pixels "
            "leave none; use another start or fewer measurements"
        )
    return from_image(prior, truth + norm * v / size)


def _noise(images: int, size: int, like: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(
        (images, size), generator=generator, device=generator.device, dtype=like.dtype
    )
    return noise.to(like.device)
