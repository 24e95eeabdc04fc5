"""The differential entropy of a toy set: the floor of any model's expected negative log-likelihood.

A Monte Carlo estimate with the true density; a score below it by more than both errors is wrong.
"""

import torch

from monotone_flow.toys.registry import TOYS

BATCHES, BATCH = 100, 10_000


def entropy(name: str, seed: int = 0) -> tuple[float, float]:
    """Return the entropy in nats and its standard error, from a million points.

    The points of a batch are neither independent nor all free (equal shares, negated arms), the
    batches are: the error is that of the mean of batch means.

    Args:
        name: a key of `TOYS`.
        seed: of the points.

    Raises:
        KeyError: the name is unknown.
    """
    toy, generator = TOYS[name], torch.Generator().manual_seed(seed)
    means = torch.stack(
        [-toy.log_prob(toy.sample(BATCH, generator)).mean() for _ in range(BATCHES)]
    )
    return means.mean().item(), means.std().item() / BATCHES**0.5
