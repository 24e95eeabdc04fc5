"""Small maps with a known Lipschitz constant, and draws that are the same in every run."""

import torch
from torch import nn


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def of_norm(matrix, norm):
    """Return matrices (..., m, n) scaled to the same spectral norm."""
    return norm * matrix / torch.linalg.matrix_norm(matrix, 2)[..., None, None]


class Sine(nn.Module):
    """L A sin(B x + b) of |A| = |B| = 1; with `models` the weights are stacked."""

    def __init__(self, features, lipschitz, *, hidden=7, models=(), seed=0):
        super().__init__()
        a = normal(*models, features, hidden, seed=seed)
        b = normal(*models, hidden, features, seed=seed + 1)
        self.a = nn.Parameter(of_norm(a, lipschitz))
        self.b = nn.Parameter(of_norm(b, 1))
        self.bias = nn.Parameter(normal(*models, 1, hidden, seed=seed + 2))

    def forward(self, x):
        return torch.sin(x @ self.b.mT + self.bias) @ self.a.mT


def linear(matrix):
    """Return the product v -> J^T v of one matrix J for rows v."""
    return lambda v: v @ matrix


def within(draws, exact, errors=4):
    """Say whether the mean of independent draws (n, ...) is within so many standard errors."""
    se = draws.std(0) / len(draws) ** 0.5
    return bool(((draws.mean(0) - exact).abs() <= errors * se).all())
