"""Starting points of LU-Net."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from common.bijections.base import Chain
from common.bijections.elementwise import LeakySoftplus
from common.bijections.lu import LULinear
from common.flows.flow import Flow

# Where a whitened coordinate enters the leaky softplus: far enough right to start almost linear.
SHIFT = 1.0


def whiten(layer: LULinear, mean: Tensor, covariance: Tensor) -> None:
    """Set the layer to z = C^-1/2 (x - mean) with the inverse Cholesky factor as its LU product.

    The inverse Cholesky factor is lower triangular, A = L diag(u): one layer is any Gaussian.

    Args:
        layer: features D, K models.
        mean: (K, D).
        covariance: (K, D, D), positive definite, float64 for the factorisation to be safe.
    """
    eye = torch.eye(layer.features, dtype=covariance.dtype, device=covariance.device)
    lower = torch.linalg.cholesky(covariance)
    inverse = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
    diagonal = inverse.diagonal(dim1=-2, dim2=-1)
    with torch.no_grad():
        layer.packed.copy_((inverse / diagonal.unsqueeze(-2)).tril(-1) + diagonal.diag_embed())
        layer.bias.copy_(-(inverse @ mean.unsqueeze(-1)).squeeze(-1))


def moments(batches: list[Tensor], weights: Tensor, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Return mean (K, D) and shrunk covariance (K, D, D) in float64, of draws (K, N, D) each.

    Args:
        batches: several noise draws of the same items.
        weights: (K, N), 0 for padding.
        shrinkage: share of the covariance that is replaced by its diagonal.
    """
    w = weights.double().unsqueeze(-1)
    total = w.sum(1) * len(batches)
    mean = sum((w * t.double()).sum(1) for t in batches) / total
    covariance = 0.0
    for t in batches:
        centred = (t.double() - mean.unsqueeze(1)) * w
        covariance = covariance + centred.mT @ centred  # type: ignore[assignment]
    covariance = covariance / (total - 1).unsqueeze(-1)  # type: ignore[assignment]
    diagonal = covariance.diagonal(dim1=-2, dim2=-1).diag_embed()  # type: ignore[attr-defined]
    return mean, (1 - shrinkage) * covariance + shrinkage * diagonal


def published(flow: Flow, generator: torch.Generator) -> None:
    """Draw all entries from U(-1/sqrt(D), 1/sqrt(D)), as the published code starts.

    U is then numerically singular for D in the hundreds; the forward direction still works.
    """
    for link in _layers(flow):
        bound = 1 / math.sqrt(link.features)
        with torch.no_grad():
            for tensor in (link.packed, link.bias):
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.copy_(bound * (2 * noise - 1))


def fit_marginals(flow: Flow, draw: Callable[[int], Tensor], steps: int) -> None:
    """Fit scales and shifts only, so that each whitened coordinate alone becomes normal.

    With everything off the diagonals held, LU-Net is D chains of scalar maps, which cost no matrix
    products. Dequantised constant pixels have exponential tails that no Gaussian fits; this
    takes them before training starts.

    Args:
        flow: LU-Net whose first LU layer whitens and whose others are the identity.
        draw: step -> preprocessed items (K, B, D) for that step.
        steps: number of Adam steps.
    """
    layers = _layers(flow)
    activation = next(a for a in _links(flow) if isinstance(a, LeakySoftplus))
    first = layers[0]
    mean, deviation = _softplus_moments(activation.slope)
    scales = [torch.zeros_like(layer.bias) for layer in layers]
    shifts = [torch.full_like(layer.bias, SHIFT) for layer in layers]
    for m in range(1, len(layers)):
        scales[m] -= math.log(deviation)
        shifts[m] += -mean / deviation - (SHIFT if m == len(layers) - 1 else 0.0)
    variables = [v.requires_grad_() for v in (*scales, *shifts)]
    optimiser = torch.optim.Adam(variables, lr=0.02, betas=(0.9, 0.99))
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        with torch.no_grad():
            z = first.forward_and_logdet(draw(step))[0]
        loss = z.new_zeros(())
        for m in range(len(layers)):
            z = z * scales[m].exp().unsqueeze(-2) + shifts[m].unsqueeze(-2)
            loss = loss - scales[m].sum(-1).mean()
            if m < len(layers) - 1:
                z, logdet = activation.forward_and_logdet(z)
                loss = loss - logdet.mean()
        loss = (loss + 0.5 * z.square().sum(-1).mean()) / z.shape[-1]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        # diag(s) L U = (diag(s) L diag(1/s)) (diag(s) U): rows scale, L stays unit triangular.
        scale = scales[0].exp()
        packed = first.packed
        rescaled = packed.tril(-1) / scale.unsqueeze(-2) + packed.triu()
        first.packed.copy_(scale.unsqueeze(-1) * rescaled)
        first.bias.mul_(scale).add_(shifts[0])
        for m, layer in enumerate(layers[1:], start=1):
            layer.packed.copy_(scales[m].exp().diag_embed())
            layer.bias.copy_(shifts[m])


def _links(flow: Flow) -> list[torch.nn.Module]:
    assert isinstance(flow.bijection, Chain)
    return list(flow.bijection.links)


def _layers(flow: Flow) -> list[LULinear]:
    return [link for link in _links(flow) if isinstance(link, LULinear)]


def _softplus_moments(slope: float) -> tuple[float, float]:
    """Return mean and standard deviation of phi(e + SHIFT) for e ~ N(0, 1), by quadrature."""
    e = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    weight = torch.exp(-0.5 * e.square())
    weight = weight / weight.sum()
    phi = LeakySoftplus(slope).forward_and_logdet(e + SHIFT)[0]
    mean = (weight * phi).sum().item()
    return mean, math.sqrt((weight * (phi - mean).square()).sum().item())
