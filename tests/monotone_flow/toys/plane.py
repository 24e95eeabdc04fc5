"""Integrals over the plane of a toy's density."""

import functools

import torch

from monotone_flow.toys import TOYS

STEP, REACH = 1 / 16, 5


@functools.cache
def log_density(name):
    """Return the log-density at the midpoints of square cells, (n, n)."""
    n = round(2 * REACH / STEP)
    axis = STEP * (torch.arange(n, dtype=torch.float64) + 0.5) - REACH
    return TOYS[name].log_prob(torch.cartesian_prod(axis, axis)).reshape(n, n)


def entropy_on_grid(name):
    """Return the integral of the density and the entropy in nats."""
    p = log_density(name).exp()
    cell = STEP**2
    return cell * p.sum().item(), -cell * p.xlogy(p).sum().item()


def cells(name):
    """Return the probabilities of the 100 unit squares of [-5, 5]^2, the first axis first."""
    side = round(1 / STEP)
    p = STEP**2 * log_density(name).exp()
    return p.reshape(2 * REACH, side, 2 * REACH, side).sum((1, 3)).flatten()
