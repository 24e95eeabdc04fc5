"""Learning rates as functions of the step."""

import math


def cosine(step: int, steps: int, first: float, last: float, warmup: int = 0) -> float:
    """Fall from `first` to `last`, reached at step `steps - 1`, along half a cosine.

    Source: SGDR: Stochastic Gradient Descent with Warm Restarts, Loshchilov and Hutter, 2017,
    eq. 5, without restarts.

    Args:
        step: from 0.
        steps: length of the training.
        first: rate after the warm-up.
        last: rate of the last step.
        warmup: steps over which the rate first rises linearly to `first`.
    """
    if step < warmup:
        return first * (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * done))


def staircase(epoch: int, first: float, factor: float, every: int) -> float:
    """Multiply `first` by `factor` after each `every` epochs."""
    return float(first * factor ** (epoch // every))
