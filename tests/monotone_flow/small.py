"""Small nets of vectors, in float64 and from seeds, and plain ones to compare with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from monotone_flow.activations import SWISH_SPEED, CPila, CReLU, lipswish
from monotone_flow.nets import LipschitzNets
from monotone_flow.profiles import PROFILES, Profile
from monotone_flow.tape import Net

ACTIVATIONS = {
    "cpila": lambda a, beta: CPila()(a),
    "clipswish": lambda a, beta: lipswish(torch.cat((a, -a), -1), beta) / SWISH_SPEED,
    "lipswish": lipswish,
    "crelu": lambda a, beta: CReLU()(a),
    "sine": lambda a, beta: a.sin(),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def small_nets(
    features: int = 2,
    activation: str = "cpila",
    *,
    concatenation: float | None = 0.98,
    coefficient: float = 0.9,
    depth: int = 2,
    growth: int = 4,
    models: int = 2,
    nets: int = 1,
    factor: float = 1.5,
    seed: int = 0,
) -> LipschitzNets:
    """Return nets whose norms are at their bounds, and no parameter at its start.

    The weights' own norms are `factor` times the bound.
    """
    found = LipschitzNets(
        features,
        depth,
        growth,
        activation,
        coefficient=coefficient,
        concatenation=concatenation,
        models=models,
        nets=nets,
        generator=seeded(seed),
    ).double()
    with torch.no_grad():
        for weight in found.weights:
            norm = torch.linalg.matrix_norm(weight, 2, keepdim=True)
            weight.mul_(factor * coefficient / norm)
        if concatenation is not None:
            found.shares.copy_(normal(*found.shares.shape, seed=seed + 1))
        if found.profile.learned:
            found.betas.copy_(normal(*found.betas.shape, seed=seed + 2))
    found.power_iterate(20_000, tol=1e-10)
    return found


def activation_of(profile: Profile):
    """Return the function that a profile describes, of a (..., C) and beta."""
    (name,) = (name for name, known in PROFILES.items() if known is profile)
    return ACTIVATIONS[name]


def plain(net: Net, k: int, x: Tensor) -> Tensor:
    """Return g(x) of model k at x (..., D), by nothing but what a net is said to be."""
    act = activation_of(net.profile)
    last = len(net.weights) - 1
    h = x
    for layer in range(last):
        beta = net.betas[layer][k, 0, 0] if net.betas else None
        a = act(h @ net.weights[layer][k].T + net.biases[layer][k], beta)
        h = torch.cat((h, a), -1) if net.dense else a
    return h @ net.weights[last][k].T + net.biases[last][k]


def unfolded(nets: LipschitzNets, k: int, n: int, x: Tensor) -> Tensor:
    """Return g(x) of model k's net n at x (..., D), concatenating weighted parts layer by layer."""
    weights = []
    for stacked in nets.weights:
        weight = stacked[k, n].detach()
        norm = torch.linalg.matrix_norm(weight, 2)
        weights.append(weight / max(1.0, norm.item() / nets.coefficient))
    act = activation_of(nets.profile)
    h = x
    for layer, weight in enumerate(weights[:-1]):
        beta = F.softplus(nets.betas[k, n, layer, 0, 0]) if nets.profile.learned else None
        a = act(h @ weight.T + nets.biases[layer][k, n], beta)
        if nets.concatenation is None:
            h = a
        else:
            raw = F.softplus(nets.shares[k, n, layer]) + 0.1
            keep, add = nets.concatenation * raw / raw.square().sum().sqrt()
            h = torch.cat((keep * h, add * a), -1)
    return h @ weights[-1].T + nets.biases[-1][k, n]
