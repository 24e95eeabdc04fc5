"""The interface of every transform, and composition."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn


class Bijection(nn.Module):
    """Map data x to latents z one to one, with the log-determinant of the Jacobian.

    A subclass implements the two methods below and sets `event_dims`, the number of trailing
    dimensions that form one event (1 for vectors, 3 for images). All leading dimensions are batch:
    x of shape (*batch, *event) gives a logdet of shape (*batch,). Parameters may carry leading
    dimensions of their own, one slice per model, that match the leading batch dimensions; so K
    equal models train as one with x of shape (K, B, D).
    """

    event_dims: int = 1

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (*batch, *event) and log |det dz/dx| (*batch,)."""
        raise NotImplementedError

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (*batch, *event) and log |det dx/dz| (*batch,)."""
        raise NotImplementedError

    def inverse(self, z: Tensor) -> Tensor:
        """Return x (*batch, *event) alone; a subclass overrides it where the logdet costs time."""
        return self.inverse_and_logdet(z)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_and_logdet(x)

    def sum_event(self, elementwise: Tensor) -> Tensor:
        """Sum over the event dimensions: (*batch, *event) -> (*batch,)."""
        return elementwise.flatten(-self.event_dims).sum(-1)


class Chain(Bijection):
    """Compose bijections, the first one nearest to the data; log-dets add.

    All links share the first link's number of event dimensions at their input, or change the shape
    of the event themselves (squeeze); their logdets have the same batch shape.
    """

    def __init__(self, links: Iterable[Bijection]) -> None:
        super().__init__()
        self.links = nn.ModuleList(links)
        if len(self.links) == 0:
            raise ValueError("Chain: expected at least one bijection, got none")
        self.event_dims = cast(Bijection, self.links[0]).event_dims

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = x.new_zeros(x.shape[: x.dim() - self.event_dims])
        for link in self.links:
            x, term = link.forward_and_logdet(x)  # type: ignore[operator]
            logdet = logdet + term
        return x, logdet

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logdet: Tensor | float = 0.0
        for link in reversed(list(self.links)):
            z, term = link.inverse_and_logdet(z)  # type: ignore[operator]
            logdet = logdet + term
        return z, cast(Tensor, logdet)

    def inverse(self, z: Tensor) -> Tensor:
        for link in reversed(list(self.links)):
            z = cast(Bijection, link).inverse(z)
        return z
