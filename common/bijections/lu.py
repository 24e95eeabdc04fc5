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
        z = lu_product(self._rows(x), self.packed, self.bias)
        return z.reshape(x.shape), self._logdet(x)

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


def lu_product(x: Tensor, packed: Tensor, bias: Tensor) -> Tensor:
    """Return L (U x) + b for packed factors.

    The triangles are multiplied in strips, which skips most products with structural zeros: with n
    strips the work is (1 + 1/n) / 2 of the dense one, forward and backward.

    Shapes: x (*models, B, D), packed (*models, D, D), bias (*models, D) -> (*models, B, D).
    """
    out: Tensor = _LUProduct.apply(x, packed, bias)[0]
    return out


def _strips(features: int, device: torch.device) -> list[tuple[int, int]]:
    # About 112 wide was fastest at D = 784 on a CPU; a GPU wants few launches above all.
    count = 1 if device.type == "cuda" else max(1, features // 112)
    edges = [round(i * features / count) for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))  # noqa: RUF007


def _plus(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return out + left @ right in one pass where torch has one."""
    if out.dim() == 3:
        return torch.baddbmm(out, left, right)
    return torch.addmm(out, left, right) if out.dim() == 2 else out + left @ right


class _LUProduct(torch.autograd.Function):
    """Return (L (U x) + b, U x); the second output serves the backward pass.

    Only the block of a strip that the diagonal crosses is copied to blank out a triangle.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, packed: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        strips = _strips(packed.shape[-1], packed.device)
        if len(strips) == 1:
            h = x @ packed.triu().mT
            return _plus(h + bias.unsqueeze(-2), h, packed.tril(-1).mT), h
        upper = []
        for a, b in strips:
            out = x[..., a:b] @ packed[..., a:b, a:b].triu().mT
            upper.append(_plus(out, x[..., b:], packed[..., a:b, b:].mT))
        h = torch.cat(upper, -1)
        lower = []
        for a, b in strips:
            out = h[..., a:b] + bias[..., a:b].unsqueeze(-2)
            out = _plus(out, h[..., a:b], packed[..., a:b, a:b].tril(-1).mT)
            lower.append(_plus(out, h[..., :a], packed[..., a:b, :a].mT))
        return torch.cat(lower, -1), h

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        x, packed, _ = inputs
        ctx.save_for_backward(x, packed, output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, grad_second: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        x, packed, h = ctx.saved_tensors
        if grad is None:  # only in second derivatives
            grad = torch.zeros_like(h)
        features = packed.shape[-1]
        strips = _strips(features, packed.device)
        if len(strips) == 1:
            grad_h = _plus(grad, grad, packed.tril(-1))
            if grad_second is not None:
                grad_h = grad_h + grad_second
            grad_x = grad_h @ packed.triu() if ctx.needs_input_grad[0] else None
            if ctx.needs_input_grad[1]:
                grad_packed = (grad.mT @ h).tril_(-1).add_((grad_h.mT @ x).triu_())
            else:
                grad_packed = None
            return grad_x, grad_packed, grad.sum(-2)
        through_lower = []
        for a, b in strips:
            out = _plus(grad[..., a:b], grad[..., a:b], packed[..., a:b, a:b].tril(-1))
            through_lower.append(_plus(out, grad[..., b:], packed[..., b:, a:b]))
        grad_h = torch.cat(through_lower, -1)
        if grad_second is not None:  # U x is an output so that second derivatives reach it
            grad_h = grad_h + grad_second
        grad_x = grad_packed = None
        if ctx.needs_input_grad[0]:
            columns = []
            for a, b in strips:
                out = grad_h[..., a:b] @ packed[..., a:b, a:b].triu()
                columns.append(_plus(out, grad_h[..., :a], packed[..., :a, a:b]))
            grad_x = torch.cat(columns, -1)
        if ctx.needs_input_grad[1]:
            for a, b in strips:
                left = grad[..., a:b].mT @ h[..., :b]
                right = grad_h[..., a:b].mT @ x[..., a:]
                if grad_packed is None:
                    grad_packed = right.new_empty(*right.shape[:-2], features, features)
                grad_packed[..., a:b, :a] = left[..., :a]
                grad_packed[..., a:b, a:b] = left[..., a:].tril(-1) + right[..., : b - a].triu()
                grad_packed[..., a:b, b:] = right[..., b - a :]
        return grad_x, grad_packed, grad.sum(-2)
