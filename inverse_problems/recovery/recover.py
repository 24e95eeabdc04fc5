"""Recover images from measurements: the one entry for all experiments."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.solvers.precision import full_precision
from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.physics import Physics, PhysicsOperator
from inverse_problems.priors.base import Prior
from inverse_problems.recovery.adam import adam
from inverse_problems.recovery.budgets import BUDGETS, LBFGS, Adam
from inverse_problems.recovery.lbfgs import lbfgs
from inverse_problems.recovery.objectives import (
    ConstrainedLikelihood,
    ImagePosterior,
    LatentObjective,
    Measurements,
    Penalty,
)
from inverse_problems.recovery.recovery import Recovery, joined, winner
from inverse_problems.recovery.starts import Start, encode

Form = Literal["latent", "posterior", "likelihood"]
Point = Literal["best", "last"]
ImageValues = LatentObjective | ImagePosterior | ConstrainedLikelihood


@dataclass(frozen=True)
class Objective:
    """Choose what is minimised; see the table in `objectives`.

    Args:
        form: "latent" for F3 to F8, "posterior" for F2, "likelihood" for F1.
        penalty: of the form "latent".
        gamma: weight of the penalty, or of the data in the form "posterior"; one number, or (B,).

    Raises:
        UserError: a penalty that the form does not have.
    """

    form: Form = "latent"
    penalty: Penalty = "none"
    gamma: float | Tensor = 0.0

    def __post_init__(self) -> None:
        if self.form != "latent" and self.penalty != "none":
            raise UserError(
                f"objective: the form {self.form} has no penalty, got {self.penalty!r}; leave it "
                "out, or use the form latent"
            )

    def values(self, prior: Prior, data: Measurements) -> ImageValues:
        """Return the values of all images."""
        if self.form == "likelihood":
            return ConstrainedLikelihood(prior, data)
        gamma = torch.as_tensor(self.gamma, dtype=data.y.dtype, device=data.y.device)
        if gamma.dim() > 0 and gamma.shape != (len(data.y),):
            raise UserError(
                f"gamma: expected one number, or one for each of {len(data.y)} images; got "
                f"{tuple(gamma.shape)}"
            )
        if self.form == "posterior":
            return ImagePosterior(prior, data, gamma)
        return LatentObjective(prior.decode, data, gamma, self.penalty)


def recover(
    prior: Prior,
    operator: LinearOperator,
    y: Tensor,
    *,
    objective: Objective | None = None,
    optimiser: LBFGS | Adam | str = "glow_sensing",
    start: Start | Tensor | None = None,
    image: Tensor | None = None,
    mask: Tensor | None = None,
    point: Point = "best",
    chunk: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Recovery:
    """Recover B images from their measurements y (B, *measured).

    Images are solved in batches of `chunk`, which bounds the memory (L-BFGS keeps up to 2 * 100
    numbers per variable, beside the prior's activations) and changes no result by more than
    rounding. Products are computed with all bits of the dtype.

    Args:
        prior: G; its parameters stay as they are.
        operator: A.
        y: measurements.
        objective: |A G(z) - y|^2 if None.
        optimiser: a budget, or the name of one in `BUDGETS`.
        start: how starts are chosen, or z0 (B, k) itself; zero if None.
        image: for the starts that take one, see `Start`.
        mask: which entries of y exist, see `Measurements`.
        point: return the point of the lowest objective or, as published, where it ended.
        chunk: images solved at once.
        progress: called with the number of images solved so far.

    Raises:
        UserError: an unknown budget, shapes that do not fit, or a start that does not exist.
    """
    if isinstance(optimiser, str) and optimiser not in BUDGETS:
        raise UserError(f"budget {optimiser!r}: expected one of {', '.join(BUDGETS)}")
    if chunk < 1:
        raise UserError(f"recover: expected a chunk of at least one image, got {chunk}")
    budget = BUDGETS[optimiser] if isinstance(optimiser, str) else optimiser
    values = (objective or Objective()).values(prior, Measurements(operator, y, mask))
    start = Start() if start is None else start
    with _in_use(prior), full_precision():
        if isinstance(start, Tensor):
            drawn = [start]
        else:
            restarts = range(start.restarts)
            drawn = [start.draw(i, prior, operator, y, image) for i in restarts]
        z0s = [_variables(values, z0, prior, len(y), chunk) for z0 in drawn]
        parts: list[Recovery] = []
        for rows in torch.arange(len(y), device=y.device).split(chunk):
            part = values.take(rows)
            parts.append(winner([_solve(part, z0[rows], budget, point) for z0 in z0s]))
            if progress is not None:
                progress(sum(len(each.x) for each in parts))
    return joined(parts)


class Recoverer:
    """Recover images as a function (y, physics) -> x, which pipelines of deepinv take.

    Args:
        prior: of the images.
        options: those of `recover`.

    Shapes: y (B, *measured), x (B, C, H, W), clamped to [0, 1].
    """

    def __init__(self, prior: Prior, **options: Any) -> None:
        self.prior, self.options = prior, options

    def __call__(self, y: Tensor, physics: LinearOperator | Physics) -> Tensor:
        if not isinstance(physics, LinearOperator):
            physics = PhysicsOperator(self.prior.shape, physics)
        return recover(self.prior, physics, y, **self.options).x


def _variables(values: ImageValues, start: Tensor, prior: Prior, images: int, chunk: int) -> Tensor:
    """Return a start in the variables of the objective: latents, or images (B, n)."""
    is_image = start.shape == (images, *prior.shape)
    if not is_image and start.shape != (images, prior.latents):
        raise UserError(
            f"start: expected latents {(images, prior.latents)}, got {tuple(start.shape)}"
        )
    if not isinstance(values, ConstrainedLikelihood):
        return encode(prior, start, chunk) if is_image else start
    if is_image:
        return start.flatten(1)
    with torch.no_grad():
        return torch.cat([prior.decode(z).flatten(1) for z in start.split(chunk)])


def _solve(values: ImageValues, z0: Tensor, budget: LBFGS | Adam, point: Point) -> Recovery:
    """Recover the images of one chunk from one start."""
    began = _now(z0)
    solved = lbfgs(values, z0, budget) if isinstance(budget, LBFGS) else adam(values, z0, budget)
    seconds = (_now(z0) - began) / max(1, len(z0))
    z = solved.z if point == "best" else solved.last
    with torch.no_grad():
        x = values.image(z)
        residual = values.data.residual(x)
    return Recovery(
        x=x.clamp(0, 1),
        unclamped=x,
        z=z,
        objective=solved.value if point == "best" else solved.values[-1],
        residual=residual,
        norm=torch.linalg.vector_norm(z, dim=-1) / z.shape[-1] ** 0.5,
        evaluations=solved.evaluations,
        seconds=torch.full_like(residual, seconds),
        status=solved.status,
        failures=solved.failed().long(),
        values=solved.values,
        norms=solved.norms,
    )


@contextmanager
def _in_use(prior: nn.Module) -> Iterator[None]:
    """Evaluate a prior and differentiate in its input alone, then put it back.

    On a CPU the kernels of convolutions are stored channels last meanwhile, and activations follow:
    convolutions of few channels, as in couplings, then take half of the time.
    """
    training = [module for module in prior.modules() if module.training]
    learning = [parameter for parameter in prior.parameters() if parameter.requires_grad]
    kernels = [
        (parameter, parameter.data)
        for parameter in prior.parameters()
        if parameter.dim() == 4 and parameter.dtype == torch.float32 and not parameter.is_cuda
    ]
    try:
        prior.eval()
        for parameter in learning:
            parameter.requires_grad_(False)
        for parameter, stored in kernels:
            parameter.data = stored.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for parameter, stored in kernels:
            parameter.data = stored
        for parameter in learning:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


def _now(like: Tensor) -> float:
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
