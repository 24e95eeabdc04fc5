"""An arm of three segments on a rail: which rail height and joint angles reach a point?"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError

LENGTHS = (0.5, 0.5, 1.0)
HEIGHT_STD = 0.25
ANGLE_STD = 0.5
# Points drawn at once by the rejection sampler, and how often it tries.
POOL = 1 << 20
POOLS = 2000


@dataclass(frozen=True)
class Kinematics:
    """Draw configurations of the arm and tell where its end is.

    x (n, 4) is the height on the rail and three joint angles in radians, each relative to the
    segment before; y (n, 2) the end of the arm.

    Source: the toy data published for Ardizzone et al., "Analyzing Inverse Problems with Invertible
    Neural Networks", 2018, https://arxiv.org/abs/1808.04730, section 4.1.
    """

    x: int = 4
    y: int = 2

    def draw(
        self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Return n configurations (n, 4) and ends (n, 2) on the generator's device."""
        noise = torch.randn(n, 4, generator=generator, device=generator.device, dtype=dtype)
        x = noise * noise.new_tensor([HEIGHT_STD, *[ANGLE_STD] * 3])
        return x, self.simulate(x)

    def simulate(self, x: Tensor) -> Tensor:
        """Return the ends (*batch, 2) of configurations (*batch, 4)."""
        return self.joints(x)[..., -1, :]

    @staticmethod
    def joints(x: Tensor) -> Tensor:
        """Return the places (*batch, 4, 2) of rail, both joints and end."""
        angles = x[..., 1:].cumsum(-1)
        lengths = x.new_tensor(LENGTHS)
        steps = torch.stack((angles.cos() * lengths, angles.sin() * lengths), -1).cumsum(-2)
        height = x[..., :1]
        start = torch.stack((torch.zeros_like(height), height), -1)
        return torch.cat((start, start + steps), -2)

    def rejection(
        self, y: Tensor, n: int, tolerance: float, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        """Return draws (m, n, 4) of the configurations that end in each y (m, 2), and their yield.

        Angles are drawn as they are distributed and kept if the end is at the right place
        horizontally, up to the tolerance. Vertically it is exact: the height is what is left to y,
        and kept with probability exp(-height^2 / 2 0.25^2). The yield is the share of angles that
        were kept, of the point with the fewest.

        Raises:
            UserError: a point is hardly ever reached.
        """
        found: list[list[Tensor]] = [[] for _ in y]
        count = torch.zeros(len(y), dtype=torch.int64)
        for pools in range(1, POOLS + 1):
            angles, ends, order = self._pool(generator, y.dtype)
            for k, (across, up) in enumerate(y.tolist()):
                if count[k] >= n:
                    continue
                window = order.new_tensor([across - tolerance, across + tolerance])
                low, high = torch.searchsorted(order, window).tolist()
                height = up - ends[low:high, 1]
                chance = torch.rand(len(height), generator=generator, dtype=height.dtype)
                kept = chance.log() < -0.5 * (height / HEIGHT_STD).square()
                found[k].append(torch.cat((height[kept].unsqueeze(1), angles[low:high][kept]), 1))
                count[k] += int(kept.sum())
            if bool((count >= n).all()):
                draws = torch.stack([torch.cat(parts)[:n] for parts in found])
                return draws, float(count.min()) / (pools * POOL)
        worst = [round(v, 3) for v in y[int(count.argmin())].tolist()]
        raise UserError(
            f"the arm reached {worst} only {int(count.min())} times in {POOLS * POOL} draws, "
            f"expected {n}; raise the tolerance or ask for fewer reference samples"
        )

    def _pool(
        self, generator: torch.Generator, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return angles and ends for height zero, sorted by the ends' first coordinate, and it."""
        noise = torch.randn(POOL, 4, generator=generator, dtype=dtype)
        noise[:, 0] = 0
        ends = self.simulate(noise * ANGLE_STD)
        order = ends[:, 0].argsort()
        return noise[order, 1:] * ANGLE_STD, ends[order], ends[order, 0].contiguous()


def reach() -> float:
    """Return the length of the stretched arm."""
    return math.fsum(LENGTHS)
