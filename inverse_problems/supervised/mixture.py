"""Eight Gaussians on a circle, seen only through a label that several of them may share."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CENTRES = (
    (-2.4142, 1.0),
    (-1.0, 2.4142),
    (1.0, 2.4142),
    (2.4142, 1.0),
    (2.4142, -1.0),
    (1.0, -2.4142),
    (-1.0, -2.4142),
    (-2.4142, -1.0),
)
STD = 0.2
LABELS = {
    "all": (0, 1, 2, 3, 4, 5, 6, 7),
    "some": (0, 0, 0, 0, 1, 1, 2, 3),
    "none": (0, 0, 0, 0, 0, 0, 0, 0),
}


@dataclass(frozen=True)
class Mixture:
    """Draw points of eight equally likely Gaussians and tell the label of the component.

    x (n, 2) is the point, y (n, 8) the label as a unit vector.

    Args:
        labels: of each component, from 0 to 7.

    Source: Ardizzone et al., "Analyzing Inverse Problems with Invertible Neural Networks", 2018,
    https://arxiv.org/abs/1808.04730, section 4.1.
    """

    labels: tuple[int, ...]
    x: int = 2
    y: int = 8

    def draw(
        self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Return n points (n, 2) and labels (n, 8) on the generator's device."""
        component = torch.randint(8, (n,), generator=generator, device=generator.device)
        return self._around(component, generator, dtype), self._label(component).to(dtype)

    def posterior(
        self, label: int, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return n exact draws (n, 2) of the points that have a label.

        Raises:
            ValueError: no component has it.
        """
        own = self.modes(label)
        pick = torch.randint(len(own), (n,), generator=generator, device=generator.device)
        component = torch.tensor(own, device=generator.device)[pick]
        return self._around(component, generator, dtype)

    def simulate(self, x: Tensor) -> Tensor:
        """Return the label (n, 8) of the component whose centre is nearest to x (n, 2).

        Neighbouring centres are ten standard deviations apart: it is the true one but for one point
        in a million.
        """
        return self._label(self.distances(x).argmin(-1)).to(x)

    def modes(self, label: int) -> list[int]:
        """Return the components with a label.

        Raises:
            ValueError: there is none.
        """
        found = [k for k, own in enumerate(self.labels) if own == label]
        if not found:
            raise ValueError(f"expected one of the labels {sorted(set(self.labels))}, got {label}")
        return found

    @staticmethod
    def distances(x: Tensor) -> Tensor:
        """Return the distances (*batch, 8) of points (*batch, 2) to the centres."""
        centres = torch.tensor(CENTRES, dtype=x.dtype, device=x.device)
        return (x.unsqueeze(-2) - centres).square().sum(-1).sqrt()

    def _label(self, component: Tensor) -> Tensor:
        labels = torch.tensor(self.labels, device=component.device)
        return F.one_hot(labels[component], self.y)

    @staticmethod
    def _around(component: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        centres = torch.tensor(CENTRES, dtype=dtype, device=component.device)[component]
        noise = torch.randn(
            centres.shape, generator=generator, device=component.device, dtype=dtype
        )
        return centres + STD * noise
