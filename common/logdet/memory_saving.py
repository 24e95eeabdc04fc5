"""The gradient of a log-determinant in the memory of its input."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.logdet.lengths import Lengths
from common.logdet.linearise import linearise
from common.logdet.neumann import Surrogate, contract, kernel
from common.logdet.series import Series


def memory_saving_surrogate(
    g: Callable[[Tensor], Tensor],
    x: Tensor,
    probes: Tensor,
    series: Series,
    lengths: Lengths,
    parameters: Sequence[Tensor],
    event_dims: int = 1,
) -> Surrogate:
    """Return the same as `neumann_surrogate` of g at x, and keep no graph until the backward pass.

    The gradients are taken at once, those of the parameters summed over the batch, and stored. The
    backward pass scales them, which is exact if the loss weighs all samples alike; this asks the
    device once. A sum over the batch cannot be weighed anew: where the weights differ the backward
    pass evaluates g again, with one product per probe, and differentiates that. The kernels are
    stored, so the series is not repeated. The gradient in x is one per sample and always scaled.

    What is held: x, the gradient in x, probes and their kernels, and the parameters' gradients.

    Args:
        g: maps (*batch, *event) to the same shape, each sample on its own. It must give the same
            again in the backward pass, so it draws no random numbers.
        x: (*batch, *event).
        probes: (n, *batch, *event), of mean 0 and covariance I.
        series: RESIDUAL or MONOTONE.
        lengths: drawn by `poisson` or `geometric` with as many probes.
        parameters: the tensors that g closes over. One that is missing gets no gradient. Where g
            reads what was computed from parameters outside of it, that is to be passed.
        event_dims: number of trailing dimensions that form an event.

    Raises: ValueError where no gradient can come of it, or unless there is one length for each
        probe of each sample; RuntimeError in the backward pass if x or a parameter was changed in
        place since.

    Reference: Residual Flows for Invertible Generative Modeling, Chen, Behrmann, Duvenaud and
    Jacobsen, 2019, https://arxiv.org/abs/1906.02735, section 3.2.
    """
    surrogate = _Replayed.apply(g, probes, series, lengths, event_dims, x, *parameters)
    if not surrogate.requires_grad:
        raise ValueError(
            "memory_saving_surrogate: expected x or a parameter that requires a gradient outside "
            "of torch.no_grad(), got none; for a value use power_series or roulette"
        )
    return Surrogate(surrogate)


class _Replayed(torch.autograd.Function):
    """Take the gradients of u' J v in the forward pass and scale them in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Callable[[Tensor], Tensor],
        probes: Tensor,
        series: Series,
        lengths: Lengths,
        event_dims: int,
        x: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            _, vjp = linearise(g, start, create_graph=True)
            kernels = kernel(vjp, probes, series, lengths, event_dims)
            surrogate = contract(vjp, probes, kernels, event_dims)
            total = surrogate.sum()
        gradients = _gradients(
            total, (start, *parameters), ctx.needs_input_grad[-1 - len(parameters) :]
        )
        ctx.g, ctx.event_dims, ctx.count = g, event_dims, len(parameters)
        ctx.save_for_backward(x, probes, kernels, *parameters, *gradients)
        return surrogate.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
        x, probes, kernels, *rest = ctx.saved_tensors
        parameters, (of_x, *of_parameters) = rest[: ctx.count], rest[ctx.count :]
        wanted = ctx.needs_input_grad[-ctx.count :] if ctx.count else ()
        flat = weights.flatten()
        if any(wanted) and bool((flat[1:] != flat[:-1]).any()):
            with torch.enable_grad():
                _, vjp = linearise(ctx.g, x.detach(), create_graph=True)
                total = (weights * contract(vjp, probes, kernels, ctx.event_dims)).sum()
            of_parameters = _gradients(total, parameters, wanted)
        else:
            weight = flat[:1].sum()  # zero for a batch of none
            of_parameters = [None if one is None else weight * one for one in of_parameters]
        if of_x is not None:
            of_x = weights.reshape(*weights.shape, *[1] * ctx.event_dims) * of_x
        return None, None, None, None, None, of_x, *of_parameters


def _gradients(
    scalar: Tensor, tensors: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Return the gradient in each tensor, None where it is not wanted or the scalar is constant."""
    asked = [tensor for tensor, want in zip(tensors, wanted, strict=True) if want]
    if not asked:
        return [None] * len(tensors)
    found = iter(torch.autograd.grad(scalar, asked, allow_unused=True))
    return [next(found) if want else None for want in wanted]
