"""Coupling and autoregressive layers: a conditioner decides how a transformer maps each scalar."""

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection
from common.bijections.transformer import Transformer


class Coupling(Bijection):
    """Let some channels of an event decide how a transformer maps the others.

    Args:
        changed: bool (C,), True where a channel is mapped; the others are kept, and condition.
        conditioner: maps (*batch, kept, *spatial) to (*batch, P * changed, *spatial), with P the
            transformer's parameters and the parameter index first, so that one parameter of all
            scalars is contiguous.
        transformer: what maps a scalar.
        unconditional: maps the kept channels too, with free parameters shared by the batch and all
            positions; the conditioner sees the channels before that. None to leave them.
        event_dims: 1 for vectors (C,), 3 for images (C, H, W).
        models: leading dimensions of the free parameters, one slice per independent model.

    Shapes: x and z (*batch, C, *spatial); logdet (*batch,). With `models`, batch starts with them.

    Source: Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019,
    https://arxiv.org/abs/1906.04032, section 3.2.
    """

    kept: Tensor
    changed: Tensor
    order: Tensor

    def __init__(
        self,
        changed: Tensor,
        conditioner: nn.Module,
        transformer: Transformer,
        *,
        unconditional: Transformer | None = None,
        event_dims: int = 1,
        models: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if changed.dtype != torch.bool or changed.dim() != 1:
            raise ValueError(f"Coupling: expected a bool mask (C,), got {changed.dtype} {changed}")
        if bool(changed.all()) or not bool(changed.any()):
            raise ValueError("Coupling: the mask must keep some channels and change some")
        self.event_dims = event_dims
        self.conditioner = conditioner
        self.transformer = transformer
        self.unconditional = unconditional
        # Not saved: the mask is part of the architecture, not of what was learnt.
        kept, moved = (~changed).nonzero().squeeze(1), changed.nonzero().squeeze(1)
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("changed", moved, persistent=False)
        # Where each channel lies once the kept and the changed ones are put together.
        order = torch.cat((kept, moved)).argsort()
        self.register_buffer("order", order, persistent=False)
        # Two runs of channels are views of an event, and side by side they are one: no gathering.
        self._runs = int((changed[1:] != changed[:-1]).sum()) == 1
        self._kept_first = not bool(changed[0])
        if unconditional is not None:
            # Uniform on [0, 1), as published: not the identity.
            self.raw = nn.Parameter(torch.rand(*models, len(kept), unconditional.parameters))

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._take(x)
        z, log_slope = self.transformer.forward(moved, self._conditioned(kept))
        logdet = self.sum_event(log_slope)
        if self.unconditional is not None:
            kept, log_slope = self.unconditional.forward(kept, self._free(kept))
            logdet = logdet + self.sum_event(log_slope)
        return self._put(kept, z), logdet

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._take(z)
        logdet: Tensor | float = 0.0
        if self.unconditional is not None:
            kept, log_slope = self.unconditional.inverse(kept, self._free(kept))
            logdet = self.sum_event(log_slope)
        x, log_slope = self.transformer.inverse(moved, self._conditioned(kept))
        return self._put(kept, x), logdet + self.sum_event(log_slope)

    def _conditioned(self, kept: Tensor) -> Tensor:
        """Return the parameters (*batch, changed, *spatial, P) as a view."""
        out: Tensor = self.conditioner(kept)
        split = out.unflatten(-self.event_dims, (self.transformer.parameters, len(self.changed)))
        return split.movedim(-self.event_dims - 1, -1)

    def _free(self, kept: Tensor) -> Tensor:
        """Return the free parameters (*batch, kept, *spatial, P) as a view."""
        raw = self.raw
        models = raw.dim() - 2
        inner = kept.dim() - models - self.event_dims  # batch dimensions that are not models
        view = raw.reshape(
            *raw.shape[:models],
            *[1] * inner,
            len(self.kept),
            *[1] * (self.event_dims - 1),
            raw.shape[-1],
        )
        return view.expand(*kept.shape, raw.shape[-1])

    def _take(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the kept channels and the others."""
        dim = x.dim() - self.event_dims
        if not self._runs:
            return x.index_select(dim, self.kept), x.index_select(dim, self.changed)
        sizes = [len(self.kept), len(self.changed)]
        if self._kept_first:
            kept, moved = x.split(sizes, dim)
        else:
            moved, kept = x.split(sizes[::-1], dim)
        return kept, moved

    def _put(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Return the event whose channels these are."""
        if self._runs and not self._kept_first:
            return torch.cat((moved, kept), dim=-self.event_dims)
        together = torch.cat((kept, moved), dim=-self.event_dims)
        if self._runs:
            return together
        return together.index_select(together.dim() - self.event_dims, self.order)

    def extra_repr(self) -> str:
        return f"kept={len(self.kept)}, changed={len(self.changed)}, {self.transformer}"


class Autoregressive(Bijection):
    """Map feature d by a transformer whose parameters depend on the features before d.

    Forward is one call of the conditioner; the inverse takes D calls, one feature after the other.

    Args:
        conditioner: maps (*batch, D) to (*batch, P * D), parameter index first, such that the
            outputs of feature d depend on features below d only (see `ResMADE`).
        transformer: what maps a scalar, with P parameters.
        features: D.

    Shapes: x and z (*batch, D); logdet (*batch,).

    Source: Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, https://arxiv.org/abs/1705.07057, eq. 3.
    """

    def __init__(self, conditioner: nn.Module, transformer: Transformer, features: int) -> None:
        super().__init__()
        self.features = features
        self.conditioner = conditioner
        self.transformer = transformer

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self._conditioned(x))
        return z, log_slope.sum(-1)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        found: list[Tensor] = []
        slopes: list[Tensor] = []
        for d in range(self.features):
            # Features from d on do not count, and are not known yet.
            rest = z.new_zeros(*z.shape[:-1], self.features - d)
            raw = self._conditioned(torch.cat((*(v.unsqueeze(-1) for v in found), rest), -1))
            x, log_slope = self.transformer.inverse(z[..., d], raw[..., d, :])
            found.append(x)
            slopes.append(log_slope)
        return torch.stack(found, -1), torch.stack(slopes, -1).sum(-1)

    def _conditioned(self, x: Tensor) -> Tensor:
        out: Tensor = self.conditioner(x)
        return out.unflatten(-1, (self.transformer.parameters, self.features)).movedim(-2, -1)

    def extra_repr(self) -> str:
        return f"features={self.features}, {self.transformer}"
