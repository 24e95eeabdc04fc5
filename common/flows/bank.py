"""Several independent models of one architecture that train side by side."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from common.flows.flow import Flow


class Bank(nn.Module):
    """Hold K flows, evaluated one after the other.

    Items come as (K, B, *event) for all public methods; log-densities are nats, (K, B).
    """

    def __init__(self, flows: list[Flow]) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.models = len(flows)

    @property
    def each(self) -> list[Flow]:
        """Return the flows."""
        return [cast(Flow, flow) for flow in self.flows]

    def parts(self, x: Tensor) -> list[tuple[Flow, Tensor, slice]]:
        """Cut a batch into (flow, its items, its place in K), for backward passes in turn."""
        return [(flow, x[k], slice(k, k + 1)) for k, flow in enumerate(self.each)]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log-densities: (K, B, *event) -> (K, B)."""
        return torch.stack([flow.log_prob(x[k]) for k, flow in enumerate(self.each)])

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Return samples (K, n, *event)."""
        draws = [f.sample(n, generator=generator, temperature=temperature) for f in self.each]
        return torch.stack(draws)

    def tensors(self) -> dict[str, Tensor]:
        """Return parameters and buffers by name, each stacked to (K, ...)."""
        states = [flow.state_dict() for flow in self.each]
        return {name: torch.stack([state[name] for state in states]) for name in states[0]}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned.

        Raises:
            RuntimeError: the tensors are those of another flow, or of another number of models.
        """
        for name, tensor in tensors.items():
            if tensor.dim() == 0 or len(tensor) != self.models:
                raise RuntimeError(
                    f"Bank: '{name}' must have {self.models} models as its leading dimension, "
                    f"got shape {tuple(tensor.shape)}"
                )
        for k, flow in enumerate(self.each):
            flow.load_state_dict({name: tensor[k] for name, tensor in tensors.items()})

    def gradient_norms(self) -> Tensor:
        """Return the L2 norm of each model's gradient, (K,)."""
        norms = [_norm([p.grad for p in f.parameters() if p.grad is not None]) for f in self.each]
        return torch.stack(norms)

    def clip(self, largest: float) -> None:
        """Scale each model's gradient to an L2 norm of at most `largest`."""
        factors = (largest / (self.gradient_norms() + 1e-6)).clamp(max=1)
        for flow, factor in zip(self.each, factors, strict=True):
            for parameter in flow.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)


class Stack(Bank):
    """Hold K flows as one batched flow: every product is one batched product.

    Every parameter of the flow has a leading dimension K, and so has every saved buffer of floating
    point numbers. Buffers of integers (fixed permutations) are shared and part of the architecture.
    """

    def __init__(self, flow: Flow, models: int) -> None:
        super().__init__([flow])
        self.models = models
        for name, tensor in self.tensors().items():
            if tensor.dim() == 0 or len(tensor) != models:
                raise ValueError(
                    f"Stack: '{name}' must have {models} models as its leading dimension, "
                    f"got shape {tuple(tensor.shape)}"
                )

    @property
    def flow(self) -> Flow:
        """Return the batched flow."""
        return self.each[0]

    def parts(self, x: Tensor) -> list[tuple[Flow, Tensor, slice]]:
        return [(self.flow, x, slice(None))]

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        return self.flow.sample(
            n, generator=generator, temperature=temperature, models=(self.models,)
        )

    def tensors(self) -> dict[str, Tensor]:
        state = self.flow.state_dict()
        return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        state = self.flow.state_dict()
        fixed = {name: t for name, t in state.items() if not t.is_floating_point()}
        self.flow.load_state_dict({**tensors, **fixed})

    def gradient_norms(self) -> Tensor:
        gradients = self._gradients()
        if self.models == 1:  # one call for all parameters
            return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).unsqueeze(
                0
            )
        norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
        return torch.linalg.vector_norm(torch.stack(norms), dim=0)

    def clip(self, largest: float) -> None:
        factor = (largest / (self.gradient_norms() + 1e-6)).clamp(max=1)
        if self.models == 1:
            torch._foreach_mul_(self._gradients(), factor.squeeze(0))
            return
        for gradient in self._gradients():
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.flow.parameters() if p.grad is not None]


def _norm(gradients: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
