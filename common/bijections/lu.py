"""A dense linear layer held as its LU factors."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection


class LULinear(Bijection):
    """Map z = L (U x) + b with unit lower triangular L and upper triangular U.

    Both factors share one matrix `packed`: U lies on and above the diagonal, L below it, and L's
    unit diagonal is not stored; so the layer has D^2 + D free parameters and nothing to mask. The
    log-determinant is sum_d ln |u_dd|. Nothing keeps u_dd from 0 but that term.

    Args:
        features: D.
        models: leading dimensions K of the parameters, one slice per independent model.

    Shapes: x and z (*models, B, D); logdet (*models, B). With models=(), any leading batch.
    The layer starts as the identity.

    Source: Chan, Penquitt, Gottschalk, "LU-Net: Invertible Neural Networks Based on Matrix
    Factorization", 2023, https://arxiv.org/abs/2302.10524, section on the LU layer.
    """

    def __init__(self, features: int, models: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.features = features
        self.packed = nn.Parameter(torch.eye(features).repeat(*models, 1, 1))
        self.bias = nn.Parameter(torch.zeros(*models, features))

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_volume = lu_product(self._rows(x), self.packed, self.bias)
        return z.reshape(x.shape), log_volume.unsqueeze(-1).expand(x.shape[:-1])

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(z), -self._logdet(z)

    def inverse(self, z: Tensor) -> Tensor:
        rows = self._rows(z) - self.bias.unsqueeze(-2)
        # Items are rows, so the transposed factors act from the right, L' first. Each solve reads
        # its own triangle only: the packed matrix serves both.
        solve = partial(torch.linalg.solve_triangular, self.packed.mT, left=False)
        x = solve(solve(rows, upper=True, unitriangular=True), upper=False)
        return x.reshape(z.shape)

    def frozen(self) -> "FrozenLU":
        """Return the layer with its present weights as two dense matrices, for many inverses."""
        return FrozenLU(self)

    def _rows(self, x: Tensor) -> Tensor:
        return x if self.bias.dim() > 1 else x.reshape(-1, self.features)

    def _logdet(self, x: Tensor) -> Tensor:
        diagonal = self.packed.diagonal(dim1=-2, dim2=-1)
        return diagonal.abs().log().sum(-1, keepdim=True).expand(x.shape[:-1])

    def extra_repr(self) -> str:
        return f"features={self.features}, models={tuple(self.bias.shape[:-1])}"


class FrozenLU(Bijection):
    """Hold A = L U and its inverse as dense matrices: one product in either direction.

    The inverse is found once, in float64. It pays for sampling with fixed weights; a later change
    of the layer does not reach this copy, and nothing here is trained.

    Shapes: as the layer's.
    """

    def __init__(self, layer: LULinear) -> None:
        super().__init__()
        packed = layer.packed.detach().double()
        eye = torch.eye(layer.features, dtype=packed.dtype, device=packed.device).expand_as(packed)
        half = torch.linalg.solve_triangular(packed, eye, upper=False, unitriangular=True)
        inverse = torch.linalg.solve_triangular(packed, half, upper=True)
        product = (packed.tril(-1) + eye) @ packed.triu()
        # Items are rows, so both are kept transposed.
        self.register_buffer("matrix", product.mT.to(layer.packed).contiguous())
        self.register_buffer("inverse_matrix", inverse.mT.to(layer.packed).contiguous())
        self.register_buffer("bias", layer.bias.detach().clone())
        diagonal = packed.diagonal(dim1=-2, dim2=-1)
        self.register_buffer("log_volume", diagonal.abs().log().sum(-1).to(layer.packed))

    matrix: Tensor
    inverse_matrix: Tensor
    bias: Tensor
    log_volume: Tensor

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = x @ self.matrix + self.bias.unsqueeze(-2)
        return z, self.log_volume.unsqueeze(-1).expand(x.shape[:-1])

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.inverse(z), -self.log_volume.unsqueeze(-1).expand(z.shape[:-1])

    def inverse(self, z: Tensor) -> Tensor:
        return (z - self.bias.unsqueeze(-2)) @ self.inverse_matrix


def lu_product(x: Tensor, packed: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return L (U x) + b and log |det U| for packed factors.

    The triangles are multiplied in strips, which skips most products with structural zeros: with n
    strips the work is (1 + 1/n) / 2 of the dense one, forward and backward.

    Shapes: x (*models, B, D), packed (*models, D, D), bias (*models, D) -> (*models, B, D) and
    (*models,).
    """
    z, _, log_volume = _LUProduct.apply(x, packed, bias)
    return z, log_volume


def strips(features: int, device: torch.device) -> list[tuple[int, int]]:
    """Return the first and last column, the latter excluded, of each strip of a large product."""
    # About 112 wide was fastest at D = 784 on a CPU; a GPU wants few launches above all.
    count = 1 if device.type == "cuda" else max(1, features // 112)
    edges = [round(i * features / count) for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))  # noqa: RUF007


def _plus(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return out + left @ right in one pass where torch has one."""
    if out.dim() == 3:
        return torch.baddbmm(out, left, right)
    return torch.addmm(out, left, right) if out.dim() == 2 else out + left @ right


def _write(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Set out, a part of a tensor, to left @ right without a copy in between."""
    if out.dim() == 3:
        torch.bmm(left, right, out=out)
    else:
        torch.mm(left, right, out=out)


def _add(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to out, a part of a tensor."""
    if out.dim() == 3:
        out.baddbmm_(left, right)
    else:
        out.addmm_(left, right)


class _LUProduct(torch.autograd.Function):
    """Return (L (U x) + b, U x, log |det U|); the second output serves the backward pass.

    In strips, every product is written where it belongs, and only the block that the diagonal
    crosses is copied to blank out a triangle. Where the steps themselves are recorded, for second
    derivatives or by functorch, the whole matrix is one strip, in operations that allow it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, packed: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        strips = _strips(x, packed)
        log_volume = packed.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        if len(strips) == 1:
            h = x @ packed.triu().mT
            return _plus(h + bias.unsqueeze(-2), h, packed.tril(-1).mT), h, log_volume
        h = torch.empty_like(x, memory_format=torch.contiguous_format)
        for a, b in strips:
            out = h[..., a:b]
            _write(out, x[..., a:b], packed[..., a:b, a:b].triu().mT)
            _add(out, x[..., b:], packed[..., a:b, b:].mT)
        z = h + bias.unsqueeze(-2)
        for a, b in strips:
            out = z[..., a:b]
            _add(out, h[..., a:b], packed[..., a:b, a:b].tril(-1).mT)
            _add(out, h[..., :a], packed[..., a:b, :a].mT)
        return z, h, log_volume

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        x, packed, _ = inputs
        ctx.save_for_backward(x, packed, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, grad_second: Tensor | None, grad_log: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        x, packed, h = ctx.saved_tensors
        if grad is None:  # only in second derivatives, or where the log-determinant stands alone
            grad = torch.zeros_like(h)
        features = packed.shape[-1]
        strips = _strips(x, packed, recorded=torch.is_grad_enabled())
        wanted_x, wanted_packed = ctx.needs_input_grad[:2]
        grad_x = grad_packed = None
        if len(strips) == 1:
            grad_h = _plus(grad, grad, packed.tril(-1))
            if grad_second is not None:  # U x is an output so that second derivatives reach it
                grad_h = grad_h + grad_second
            if wanted_x:
                grad_x = grad_h @ packed.triu()
            if wanted_packed:
                grad_packed = (grad.mT @ h).tril(-1) + (grad_h.mT @ x).triu()
                if grad_log is not None:
                    slope = grad_log.unsqueeze(-1) / packed.diagonal(dim1=-2, dim2=-1)
                    grad_packed = grad_packed + torch.diag_embed(slope)
            return grad_x, grad_packed, grad.sum(-2)
        grad_h = grad.clone(memory_format=torch.contiguous_format)
        for a, b in strips:
            out = grad_h[..., a:b]
            _add(out, grad[..., a:b], packed[..., a:b, a:b].tril(-1))
            _add(out, grad[..., b:], packed[..., b:, a:b])
        if grad_second is not None:
            grad_h += grad_second
        if wanted_x:
            grad_x = torch.empty_like(grad_h)
            for a, b in strips:
                out = grad_x[..., a:b]
                _write(out, grad_h[..., a:b], packed[..., a:b, a:b].triu())
                _add(out, grad_h[..., :a], packed[..., :a, a:b])
        if wanted_packed:
            grad_packed = packed.new_empty(*packed.shape[:-2], features, features)
            for a, b in strips:
                # Both products cover the block on the diagonal; each owns one triangle of it.
                _write(grad_packed[..., a:b, a:], grad_h[..., a:b].mT, x[..., a:])
                block = grad_packed[..., a:b, a:b]
                upper = block.triu()
                _write(grad_packed[..., a:b, :b], grad[..., a:b].mT, h[..., :b])
                block.tril_(-1).add_(upper)
            if grad_log is not None:
                diagonal = packed.diagonal(dim1=-2, dim2=-1)
                grad_packed.diagonal(dim1=-2, dim2=-1).add_(grad_log.unsqueeze(-1) / diagonal)
        return grad_x, grad_packed, grad.sum(-2)


def _strips(x: Tensor, packed: Tensor, recorded: bool = False) -> list[tuple[int, int]]:
    """Return the first and last column of each strip; one strip where the steps are recorded."""
    features = packed.shape[-1]
    whole = recorded or torch._C._are_functorch_transforms_active()
    whole = whole or x.dim() != packed.dim() or x.dim() not in (2, 3)
    return [(0, features)] if whole else strips(features, packed.device)
