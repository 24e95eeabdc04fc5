"""Residual networks on vectors that condition couplings and autoregressive layers."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.bijections.residual_product import residual_product


class StackedLinear(nn.Module):
    """Apply an affine map, or K of them side by side as one batched product.

    Args:
        inputs: number of input features.
        outputs: number of output features.
        models: leading dimensions of the parameters, one slice per independent model.
        mask: (outputs, inputs), ones where a weight counts; None for all of them.

    Shapes: (*models, B, inputs) -> (*models, B, outputs); with models=() any leading dimensions.
    The start is torch's: uniform in +-1/sqrt(inputs).
    """

    mask: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, models: tuple[int, ...] = (), mask: Tensor | None = None
    ) -> None:
        super().__init__()
        self.models = models
        self.weight = nn.Parameter(torch.empty(*models, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(*models, outputs))
        # Not saved: part of the architecture.
        self.register_buffer("mask", mask, persistent=False)
        self.start(inputs**-0.5)

    def effective_weight(self) -> Tensor:
        """Return the weights that count, (*models, outputs, inputs)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def start(self, bound: float) -> None:
        """Draw all numbers uniformly from +-bound."""
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*models, B, outputs)."""
        weight = self.effective_weight()
        if not self.models:
            return F.linear(x, weight, self.bias)
        if x.dim() == 3:
            return torch.baddbmm(self.bias.unsqueeze(-2), x, weight.mT)
        return x @ weight.mT + self.bias.unsqueeze(-2)

    def feature_major(self, x: Tensor) -> Tensor:
        """Return what `forward` does, (*models, B, outputs), with B innermost in memory.

        One output of all items is contiguous then, which is how splines read their parameters.
        """
        weight = self.effective_weight()
        rows = x if self.models else x.reshape(-1, x.shape[-1])
        if rows.dim() == 2:
            out = torch.addmm(self.bias.unsqueeze(-1), weight, rows.mT)
        elif rows.dim() == 3:
            out = torch.baddbmm(self.bias.unsqueeze(-1), weight, rows.mT)
        else:
            out = weight @ rows.mT + self.bias.unsqueeze(-1)
        return out.mT.unflatten(-2, x.shape[len(self.models) : -1])

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape[-2:]
        return f"{inputs} -> {outputs}, models={self.models}, masked={self.mask is not None}"


class StackedBatchNorm(nn.Module):
    """Normalise each hidden feature over the batch, each model by itself.

    Args:
        features: number of features.
        models: leading dimensions, one slice per independent model.
        eps: added to the variance.
        momentum: share of a batch in the running statistics, which evaluation uses.

    Shapes: (*models, B, features) in and out; a batch of at least two items in training.
    """

    mean: Tensor
    var: Tensor

    def __init__(
        self,
        features: int,
        models: tuple[int, ...] = (),
        eps: float = 1e-3,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(*models, features))
        self.bias = nn.Parameter(torch.zeros(*models, features))
        self.register_buffer("mean", torch.zeros(*models, features))
        self.register_buffer("var", torch.ones(*models, features))

    def forward(self, h: Tensor) -> Tensor:
        """Return the normalised features, (*models, B, features)."""
        if not self.training:
            factor = self.weight * torch.rsqrt(self.var + self.eps)
            return torch.addcmul(
                (self.bias - self.mean * factor).unsqueeze(-2), h, factor.unsqueeze(-2)
            )
        variance, mean = torch.var_mean(h, -2, correction=0)
        with torch.no_grad():
            count = h.shape[-2]
            self.mean.lerp_(mean.detach(), self.momentum)
            self.var.lerp_(variance.detach() * (count / max(1, count - 1)), self.momentum)
        factor = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul((self.bias - mean * factor).unsqueeze(-2), h, factor.unsqueeze(-2))


class ResidualBlock(nn.Module):
    """Add two linear layers to their input: [norm] ReLU linear [norm] ReLU dropout linear.

    The last layer starts near zero, so that a block starts near the identity.

    Shapes: (*models, B, hidden) in and out.
    """

    def __init__(
        self,
        hidden: int,
        dropout: float,
        batch_norm: bool,
        models: tuple[int, ...],
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            StackedBatchNorm(hidden, models) if batch_norm else nn.Identity() for _ in range(2)
        )
        self.first = StackedLinear(hidden, hidden, models, mask)
        self.second = StackedLinear(hidden, hidden, models, mask)
        self.second.start(1e-3)
        self.dropout = nn.Dropout(dropout)

    @property
    def plain(self) -> bool:
        """Say whether there is nothing but affine layers and ReLU at present."""
        dropping = self.training and self.dropout.p > 0
        return not dropping and isinstance(self.norms[0], nn.Identity)

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, (*models, B, hidden)."""
        inner = self.first(F.relu(self.norms[0](h)))
        return h + self.second(self.dropout(F.relu(self.norms[1](inner))))


class ResidualNet(nn.Module):
    """Map vectors to vectors: linear, residual blocks, linear.

    Args:
        inputs: number of input features.
        outputs: number of output features.
        hidden: width.
        blocks: number of residual blocks of two layers each.
        dropout: share of hidden units that a training step leaves out.
        batch_norm: normalise ahead of both activations of a block.
        models: leading dimensions of the parameters, one slice per independent model.

    Shapes: (*models, B, inputs) -> (*models, B, outputs).

    Source: Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019,
    https://arxiv.org/abs/1906.04032, appendix on experimental details.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        blocks: int = 2,
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        models: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.first = StackedLinear(inputs, hidden, models)
        self.blocks = nn.ModuleList(
            ResidualBlock(hidden, dropout, batch_norm, models) for _ in range(blocks)
        )
        self.last = StackedLinear(hidden, outputs, models)

    def give_constant(self, values: Tensor) -> None:
        """Let the outputs be the same for every input, values (outputs,), until training."""
        _give_constant(self.last, values)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*models, B, outputs)."""
        return _run(self.first, self.blocks, self.last, x)


class ResMADE(nn.Module):
    """Map D features to P numbers for each such that those of feature d see features below d.

    Hidden units have degrees 1..D-1 in turn; a unit sees inputs and units of at most its own
    degree, and an output of feature d (from 1) sees units of degree below d. With one feature there
    is nothing to see: then all outputs are free constants.

    Args:
        features: D.
        parameters: P, outputs per feature; the parameter index comes first in the output.
        hidden: width.
        blocks: number of residual blocks of two layers each.
        dropout: share of hidden units that a training step leaves out.
        batch_norm: normalise ahead of both activations of a block.
        models: leading dimensions of the parameters, one slice per independent model.

    Shapes: (*models, B, D) -> (*models, B, P * D).
    Raises: ValueError for fewer hidden units than D - 1: some features would see nothing.

    Source: Nash and Durkan, "Autoregressive Energy Machines", 2019,
    https://arxiv.org/abs/1904.05626, section on ResMADE; Germain et al., "MADE: Masked Autoencoder
    for Distribution Estimation", 2015, eqs. 8 and 9.
    """

    def __init__(
        self,
        features: int,
        parameters: int,
        hidden: int,
        blocks: int = 2,
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        models: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if hidden < features - 1:
            raise ValueError(
                f"ResMADE: expected at least {features - 1} hidden units, one of each degree for "
                f"{features} features, got {hidden}"
            )
        degrees_in = torch.arange(1, features + 1)
        degrees = torch.arange(hidden) % max(1, features - 1) + 1
        within = (degrees[:, None] >= degrees).float()
        into = (degrees[:, None] >= degrees_in).float()
        if features == 1:
            into = torch.zeros_like(into)
        out = (degrees_in[:, None] > degrees).float().repeat(parameters, 1)
        self.first = StackedLinear(features, hidden, models, into)
        self.blocks = nn.ModuleList(
            ResidualBlock(hidden, dropout, batch_norm, models, within) for _ in range(blocks)
        )
        self.last = StackedLinear(hidden, parameters * features, models, out)

    def give_constant(self, values: Tensor) -> None:
        """Let the outputs be the same for every input, values (P * D,), until training."""
        _give_constant(self.last, values)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*models, B, P * D)."""
        return _run(self.first, self.blocks, self.last, x)


def _run(first: StackedLinear, blocks: nn.ModuleList, last: StackedLinear, x: Tensor) -> Tensor:
    """Return the outputs, by one step where nothing stands between the affine layers."""
    parts = [cast(ResidualBlock, block) for block in blocks]
    if len(first.models) > 1 or not all(block.plain for block in parts) or not plain_autograd():
        h = first(x)
        for block in parts:
            h = block(h)
        return last.feature_major(h)
    layers = [first, *(layer for block in parts for layer in (block.first, block.second)), last]
    pairs: list[tuple[Tensor, Tensor]] = [(part.effective_weight(), part.bias) for part in layers]
    if first.models:
        rows = x.flatten(1, -2)
    else:
        rows = x.reshape(1, -1, x.shape[-1])
        pairs = [(weight.unsqueeze(0), bias.unsqueeze(0)) for weight, bias in pairs]
    out = residual_product(rows, pairs)
    out = out if first.models else out.squeeze(0)
    return out.unflatten(-2, x.shape[len(first.models) : -1])


@torch.no_grad()
def _give_constant(layer: StackedLinear, values: Tensor) -> None:
    layer.weight.zero_()
    layer.bias.copy_(values.expand_as(layer.bias))


def plain_autograd() -> bool:
    """Say whether gradients are the ordinary ones: functorch does not look into our function."""
    return not torch._C._are_functorch_transforms_active()
