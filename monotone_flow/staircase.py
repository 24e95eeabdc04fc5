"""The target of the one-dimensional regression: a staircase of four steps on [-2, 2].

Over each unit it rises with slope 1/20 for the first 20/21 and with slope 20 for the last 1/21. A
residual block of one network has slopes below 2, a monotone one below (1 + L) / (1 - L).

Source: "Invertible Monotone Operators for Normalizing Flows", Ahn, Kim, Hong and Kim, 2022,
https://arxiv.org/abs/2210.08176, Figure 4, and the code published with it.
"""

import torch
from torch import Generator, Tensor

LOW, HIGH = -2.0, 2.0
FLAT, STEEP = 0.05, 20.0
# Within a step of length and height 1, where both slopes meet: FLAT w = 1 - STEEP (1 - w).
KNEE = (STEEP - 1) / (STEEP - FLAT)


def staircase(x: Tensor) -> Tensor:
    """Return the staircase at x of any shape, from 0 at -2 to 4 at 2; constant beyond."""
    run = x.clamp(LOW, HIGH) - LOW
    step = run.floor()
    within = run - step
    return step + torch.maximum(FLAT * within, 1 - STEEP * (1 - within))


def batch(
    n: int, generator: Generator, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Draw x uniform on [-2, 2], on the generator's device; return x and its targets, (n, 1)."""
    uniform = torch.rand((n, 1), generator=generator, device=generator.device, dtype=dtype)
    x = LOW + (HIGH - LOW) * uniform
    return x, staircase(x)


def grid(
    n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return the midpoints of n equal cells of [-2, 2] and their targets, (n, 1).

    The mean squared error over them is a midpoint rule for the expected one, free of noise.
    """
    cell = torch.arange(n, dtype=dtype, device=device).unsqueeze(-1)
    x = LOW + (HIGH - LOW) / n * (cell + 0.5)
    return x, staircase(x)
