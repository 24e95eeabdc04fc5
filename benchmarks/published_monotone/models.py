"""The published models of the line and the plane, and their training steps."""

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.published_monotone.activations import cpila, crelu
from benchmarks.published_monotone.blocks import PublishedMonotone
from benchmarks.published_monotone.dense import PublishedDense, Weights

LEAST_VARIANCE = 0.2


class PublishedFit(nn.Module):
    """Fit a function of one variable by scales with blocks between them.

    Args:
        nets: start values of each block's net, D = 1.
        generator: of the singular vectors that they lack.
    """

    def __init__(self, nets: Sequence[Weights], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            PublishedMonotone(PublishedDense(net, crelu, 0.99, 0.99, generator)) for net in nets
        )
        like = nets[0]["bias0"]
        count = len(nets) + 1
        self.log_scales = nn.ParameterList(like.new_zeros(1) for _ in range(count))
        self.shifts = nn.ParameterList(like.new_zeros(1) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """Return the fitted values (B, 1) at x (B, 1)."""
        for i, block in enumerate(self.blocks):
            x = block(self._scale(x, i))
        return self._scale(x, len(self.blocks))

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Set the scales so that each one's output has mean 0 and variance 1 on x (B, 1)."""
        for i, (log_scale, shift) in enumerate(zip(self.log_scales, self.shifts, strict=True)):
            variance, mean = torch.var_mean(x, 0, correction=0)
            log_scale.copy_(-0.5 * variance.clamp(min=LEAST_VARIANCE).log())
            shift.copy_(-mean * log_scale.exp())
            x = self._scale(x, i)
            if i < len(self.blocks):
                x = self.blocks[i](x)

    def solver_calls(self) -> Counter[str]:
        """Return how often the solvers called g and its transposed Jacobian."""
        return _calls(self.blocks)

    def _scale(self, x: Tensor, i: int) -> Tensor:
        return x * self.log_scales[i].exp() + self.shifts[i]


class PublishedDensity(nn.Module):
    """Be a density of the plane: blocks only, and a standard normal base.

    Args:
        nets: start values of each block's net, D = 2.
        generator: of the singular vectors that they lack.
    """

    def __init__(self, nets: Sequence[Weights], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            PublishedMonotone(PublishedDense(net, cpila, 0.9, 0.98, generator)) for net in nets
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density (B,) in nats at x (B, 2)."""
        total = x.new_zeros(len(x))
        for block in self.blocks:
            x, logdet = block.forward_and_logdet(x)  # type: ignore[operator]
            total = total + logdet
        return total - 0.5 * x.square().sum(-1) - math.log(2 * math.pi)

    def solver_calls(self) -> Counter[str]:
        """Return how often the solvers called g and its transposed Jacobian."""
        return _calls(self.blocks)


def fit_step(model: PublishedFit, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Take one published step on points x and values y (B, 1); return the mean squared error."""
    optimiser.zero_grad(set_to_none=True)
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimiser.step()
    for block in model.blocks:
        block.net.update()  # type: ignore[operator, union-attr]
    return loss.detach()


def density_step(
    model: PublishedDensity, optimiser: torch.optim.Optimizer, x: Tensor, learn_concat: bool
) -> Tensor:
    """Take one published step on points x (B, 2); return the mean loss in nats.

    Without `learn_concat`, as in the first half of training, the concatenation's parameters are set
    back to one after the step.
    """
    optimiser.zero_grad(set_to_none=True)
    loss = -model.log_prob(x).mean()
    loss.backward()
    optimiser.step()
    for block in model.blocks:
        if not learn_concat:
            nn.init.ones_(block.net.concat)  # type: ignore[union-attr, arg-type]
        block.net.update(iterations=5)  # type: ignore[operator, union-attr]
    return loss.detach()


def _calls(blocks: nn.ModuleList) -> Counter[str]:
    return sum((block.calls for block in blocks), Counter())  # type: ignore[misc]
