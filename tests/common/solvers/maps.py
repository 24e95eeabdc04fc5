"""Contractions whose Lipschitz constant is attained, in float64."""

import math

import torch


class Counted:
    """Count the calls of a function and keep their arguments."""

    def __init__(self, f):
        self.f = f
        self.seen = []

    def __call__(self, x):
        self.seen.append(x.clone())
        return self.f(x)

    @property
    def calls(self):
        return len(self.seen)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def orthogonal(n, seed=0):
    return torch.linalg.qr(normal(n, n, seed=seed))[0]


def rotation(angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def saturated(n, lipschitz):
    """Bend -lipschitz * identity: its slope is attained at 0 in all directions."""
    q = orthogonal(n)
    return lambda w: -lipschitz * 4 * torch.tanh(w @ q / 4) @ q.T


def spectrum(n, lipschitz):
    """Spread the slopes of a linear map over [-lipschitz, lipschitz]."""
    q = orthogonal(n, seed=1)
    matrix = lipschitz * (q * torch.linspace(-1, 1, n, dtype=torch.float64)) @ q.T
    return lambda w: w @ matrix


def kinked(n, lipschitz):
    """Fold the space twice between rotations: an isometry with kinks, times lipschitz."""
    a, b, c = (orthogonal(n, seed=seed) for seed in (2, 3, 4))
    return lambda w: lipschitz * ((w @ a).abs() @ b - 1).abs() @ c
