"""Lipschitz nets of vectors: N nets for each of K models, held in stacked tensors."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monotone_flow.activations import BETA
from monotone_flow.profiles import PROFILES
from monotone_flow.tape import Net

ActivationName = Literal["cpila", "clipswish", "lipswish", "crelu", "sine"]


class LipschitzNets(nn.Module):
    """Hold N nets g: R^D -> R^D with a Lipschitz constant below one for each of K models.

    Each layer's weights are W / max(1, s / c), where s = u^T W v estimates the largest singular
    value. `u` and `v` are constants of a pass; `power_iterate` moves them, after each step of the
    optimiser.

    Dense nets follow i-DenseNet: layer i maps h to [a h, b f(W h)] with learned a and b,
    a^2 + b^2 = l^2, so the net's constant is at most l^depth c. Plain nets are chains of layers.

    Args:
        features: D.
        depth: layers ahead of the last one.
        growth: channels that each of them adds (dense) or has (plain), after the activation.
        activation: its name in `PROFILES`.
        coefficient: c, the largest norm of a layer.
        concatenation: l of dense nets, None for plain ones.
        models: K.
        nets: N.
        generator: draws the weights; torch's global one if None.

    Reference: Invertible DenseNets with Concatenated LipSwish, Yura Perugachi-Diaz, Jakub M.
    Tomczak and Sandjai Bhulai, 2021, https://arxiv.org/abs/2102.02694, section 3.
    """

    def __init__(
        self,
        features: int,
        depth: int,
        growth: int,
        activation: ActivationName,
        *,
        coefficient: float,
        concatenation: float | None,
        models: int = 1,
        nets: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 < coefficient < 1 or (concatenation is not None and not 0 < concatenation <= 1):
            raise ValueError(
                "LipschitzNets: expected 0 < coefficient < 1 and 0 < concatenation <= 1, got "
                f"{coefficient} and {concatenation}"
            )
        self.profile = PROFILES[activation]
        if self.profile.doubles and growth % 2:
            raise ValueError(f"LipschitzNets: {activation} doubles channels; got growth {growth}")
        self.coefficient, self.concatenation = coefficient, concatenation
        emitted = growth // 2 if self.profile.doubles else growth
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.features, self.growth, self.depth = features, growth, depth
        for layer in range(depth + 1):
            out = emitted if layer < depth else features
            if concatenation is not None:
                inputs = features + layer * growth
            else:
                inputs = features if layer == 0 else growth
            bound = 1 / math.sqrt(inputs)
            for parameters, shape in ((self.weights, (out, inputs)), (self.biases, (out,))):
                values = torch.empty(models, nets, *shape)
                parameters.append(nn.Parameter(values.uniform_(-bound, bound, generator=generator)))
            for name, size in (("u", out), ("v", inputs)):
                values = torch.empty(models, nets, size).normal_(generator=generator)
                self.register_buffer(f"{name}{layer}", F.normalize(values, dim=-1))
        if concatenation is not None:
            self.shares = nn.Parameter(torch.ones(models, nets, depth, 2))
        if self.profile.learned:
            self.betas = nn.Parameter(torch.full((models, nets, depth, 1, 1), BETA))
        self.power_iterate(200)

    def nets(self) -> list[Net]:
        """Return the N nets with normalised weights, differentiable in the parameters."""
        normalised = self.normalised()
        if self.concatenation is not None:
            scales = self._column_scales()
            # The factors of the concatenation act on columns: products see plain activations.
            weights = [w * s.unsqueeze(-2) for w, s in zip(normalised, scales, strict=True)]
        else:
            weights = normalised
        per_net = [tensor.unbind(1) for tensor in (*weights, *self.biases)]
        if self.profile.learned:
            per_net += [beta.unbind(1) for beta in F.softplus(self.betas).unbind(2)]
        layers = self.depth + 1
        found = []
        for tensors in zip(*per_net, strict=True):
            parts = tensors[:layers], tensors[layers : 2 * layers], tensors[2 * layers :]
            found.append(Net(*parts, self.profile, self.concatenation is not None))
        return found

    def normalised(self) -> list[Tensor]:
        """Return each layer's W / max(1, s / c), (K, N, m, inputs)."""
        found = []
        for layer, weight in enumerate(self.weights):
            u, v = getattr(self, f"u{layer}"), getattr(self, f"v{layer}")
            norm = (u * (weight @ v.unsqueeze(-1)).squeeze(-1)).sum(-1)
            found.append(weight / (norm / self.coefficient).clamp(min=1)[..., None, None])
        return found

    def _etas(self) -> Tensor:
        """Return a and b of each concatenation, (K, N, depth, 2)."""
        raw = F.softplus(self.shares) + 0.1
        assert self.concatenation is not None
        return self.concatenation * raw / raw.norm(dim=-1, keepdim=True)

    def _column_scales(self) -> list[Tensor]:
        """Return what the concatenations before each layer put on its columns, (K, N, inputs)."""
        keep, add = self._etas().unbind(-1)
        pieces = [torch.ones_like(keep[..., 0])]
        sizes = [self.features]
        found = []
        for layer in range(self.depth + 1):
            columns = torch.stack(pieces, -1)
            repeats = torch.tensor(sizes, device=columns.device)
            found.append(columns.repeat_interleave(repeats, dim=-1, output_size=sum(sizes)))
            if layer < self.depth:
                pieces = [piece * keep[..., layer] for piece in pieces] + [add[..., layer]]
                sizes.append(self.growth)
        return found

    @torch.no_grad()
    def power_iterate(self, iterations: int, *, tol: float = 0.0) -> int:
        """Move u and v towards the singular vectors of the largest singular values.

        Args:
            iterations: at most so many, and at least one.
            tol: stop when u has moved by less than this share of its length in every matrix; 0
                takes all iterations and never waits for the device.

        Returns:
            the iterations taken.
        """
        taken = 0
        for layer, weight in enumerate(self.weights):
            u, v = getattr(self, f"u{layer}"), getattr(self, f"v{layer}")
            column = u.unsqueeze(-1)
            for count in range(1, iterations + 1):  # noqa: B007
                row = F.normalize(weight.mT @ column, dim=-2)
                new = F.normalize(weight @ row, dim=-2)
                moved = torch.linalg.vector_norm(new - column, dim=-2) if tol else None
                column = new
                if moved is not None and bool((moved < tol).all()):
                    break
            taken = max(taken, count)
            u.copy_(column.squeeze(-1))
            v.copy_(row.squeeze(-1))
        return taken

    @torch.no_grad()
    def reset_shares(self) -> None:
        """Put the concatenations back to equal parts, which freezes them when done each step."""
        if self.concatenation is not None:
            self.shares.fill_(1)

    @torch.no_grad()
    def bounds(self) -> Tensor:
        """Return an upper bound of each net's Lipschitz constant from exact norms, (K, N)."""
        norms = [torch.linalg.matrix_norm(w.double(), 2) for w in self.normalised()]
        total = norms[-1]
        etas = self._etas().double() if self.concatenation is not None else None
        for layer, norm in enumerate(norms[:-1]):
            if etas is not None:
                keep, add = etas[..., layer, :].unbind(-1)
                norm = (keep.square() + (add * norm).square()).sqrt()
            total = total * norm
        return total
