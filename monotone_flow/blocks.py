"""The three blocks that one Lipschitz net g defines, exact in low dimension.

With Lip(g) < 1:

- residual, z = x + g(x);
- inverse residual, z + g(z) = x;
- monotone, w + g(w) = sqrt(2) x and z = sqrt(2) w - x. In the paper's form, u solves
  (u + G(u)) / 2 = x and z = u - x: the same map with G(u) = sqrt(2) g(u / sqrt(2)).

The inverse of a monotone block is the monotone block of -g at the same point w; that of a residual
block is the inverse residual block of g.

References: Invertible Monotone Operators for Normalizing Flows, Byeongkeun Ahn, Chiyoon Kim,
Youngjoon Hong and Hyunwoo J. Kim, 2022, https://arxiv.org/abs/2210.08176; Implicit Normalizing
Flows, Cheng Lu, Jianfei Chen, Chongxuan Li, Qiuhao Wang and Jun Zhu, 2021,
https://arxiv.org/abs/2103.09527;
Invertible Residual Networks, Jens Behrmann, Will Grathwohl, Ricky T. Q. Chen, David Duvenaud and
Joern-Henrik Jacobsen, 2019, https://arxiv.org/abs/1811.00995.
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from monotone_flow import native
from monotone_flow.fused import fusible, native_wanted
from monotone_flow.roots import add_identity, apply_transposed, invert, solve, tolerance
from monotone_flow.tape import Net, evaluate, gradients, sweep

Kind = Literal["residual", "inverse_residual", "monotone"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROOT2 = math.sqrt(2)


def block(kind: Kind, net: Net, x: Tensor, *, logdet: bool = True) -> tuple[Tensor, Tensor]:
    """Map x through a block, differentiably in x and in the weights.

    Args:
        kind: which block.
        net: g.
        x: (K, D, B).
        logdet: False leaves the log-determinants at zero and saves their Jacobians.

    Returns:
        z (K, D, B) and log |det dz/dx| (K, B).

    Raises:
        NotConverged: the solver did not reach its tolerance.
    """
    if logdet and native_wanted() and native.fits(net, x) and native.available():
        z, found, worst = _NativeBlock.apply(kind, net, x, *net.tensors())
        if worst <= tolerance(x.dtype):
            return z, found
        # Rare: the general solver has ways that the kernel has not, and says where it fails.
    z, found = _Block.apply(kind, net, logdet, x, *net.tensors())
    return z, found


def inverse(kind: Kind, net: Net, z: Tensor, *, logdet: bool = True) -> tuple[Tensor, Tensor]:
    """Map z (K, D, B) back; the log-determinant (K, B) is that of dx/dz. Errors as `block`."""
    if kind == "monotone":
        return block(kind, net.negative(), z, logdet=logdet)
    other: Kind = "residual" if kind == "inverse_residual" else "inverse_residual"
    return block(other, net, z, logdet=logdet)


class _NativeBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kind: Kind, net: Net, x: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        net = net.with_tensors(tensors)
        w, z, found, worst = native.forward(kind, net, x, tolerance(x.dtype))
        ctx.kind, ctx.net, ctx.w = kind, net, w
        return z, found, worst

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, z_bar: Tensor, logdet_bar: Tensor, _: None) -> tuple[Any, ...]:
        x_bar, *bars = native.backward(ctx.kind, ctx.net, ctx.w, z_bar, logdet_bar)
        return None, None, x_bar, *bars


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kind: Kind, net: Net, logdet: bool, x: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        net = net.with_tensors(tensors)
        # A Jacobian with one column is found on the way back just as well.
        tangents = logdet or (kind != "residual" and x.shape[1] > 1)
        if kind == "residual":
            tape = evaluate(net, x, tangents=tangents)
            z = x + tape.value
        else:
            target = ROOT2 * x if kind == "monotone" else x
            w, tape, _ = solve(net, target, tangents=tangents)
            z = ROOT2 * w - x if kind == "monotone" else w
        found = (
            _logdet(kind, tape.out, tape.batch) if logdet else x.new_zeros(x.shape[0], x.shape[2])
        )
        ctx.kind, ctx.net, ctx.tape, ctx.logdet = kind, net, tape, logdet
        if not logdet:
            ctx.mark_non_differentiable(found)
        return z, found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, z_bar: Tensor, logdet_bar: Tensor) -> tuple[Any, ...]:
        kind, net, tape = ctx.kind, ctx.net, ctx.tape
        if kind == "residual":
            out_bar = z_bar
            if ctx.logdet:
                out_bar = _out_bar(kind, tape.out, z_bar, logdet_bar, tape.batch)
            found = sweep(net, tape, out_bar)
            return None, None, None, z_bar + found.w, *gradients(net, tape, found)
        # The root's cotangent comes from z, and through the Jacobian there.
        w_bar = ROOT2 * z_bar if kind == "monotone" else z_bar
        if ctx.logdet:
            nothing = torch.zeros_like(z_bar)
            found = sweep(net, tape, _out_bar(kind, tape.out, nothing, logdet_bar, tape.batch))
            target_bar = _answer(tape.out, w_bar + found.w, tape.batch)
            found.add(sweep(net, tape, -target_bar))
        elif z_bar.shape[1] > 1 or net.betas:
            # (Sums over samples, as of betas, cannot be scaled afterwards.)
            tape = tape if z_bar.shape[1] > 1 else evaluate(net, tape.rows[:, :1], tangents=True)
            target_bar = _answer(tape.out, w_bar, tape.batch)
            found = sweep(net, tape, -target_bar)
        else:
            # One sweep is enough: it is linear, so the root's answer may scale it at the end.
            found = sweep(net, tape, torch.ones_like(z_bar))
            target_bar = w_bar / (1 + found.w)
            found.pre = [bar * -target_bar for bar in found.pre]
        x_bar = ROOT2 * target_bar - z_bar if kind == "monotone" else target_bar
        return None, None, None, x_bar, *gradients(net, tape, found)


@fusible
def _out_bar(kind: Kind, out: Tensor, z_bar: Tensor, logdet_bar: Tensor, batch: int) -> Tensor:
    """Return the cotangent of a tape's `out` from those of its values and of the log-det."""
    jacobian = _jacobian(out, batch)
    slope = _logdet_gradient(kind, jacobian) * logdet_bar[:, None, None]
    return torch.cat((z_bar, slope.flatten(2)), -1)


@fusible
def _answer(out: Tensor, w_bar: Tensor, batch: int) -> Tensor:
    """Return (I + J^T)^-1 w_bar, (K, D, B)."""
    jacobian = _jacobian(out, batch)
    return apply_transposed(invert(add_identity(jacobian)), w_bar)


@fusible
def _logdet(kind: Kind, out: Tensor, batch: int) -> Tensor:
    """Return the log-determinant of a block (K, B) from its net's tape."""
    jacobian = _jacobian(out, batch)
    plus = log_determinant(add_identity(jacobian))
    if kind == "residual":
        return plus
    if kind == "inverse_residual":
        return -plus
    return log_determinant(add_identity(jacobian, -1.0)) - plus


def _jacobian(out: Tensor, batch: int) -> Tensor:
    """Return J (K, D, D, B) of a tape's `out`, whose batch may be empty."""
    return out.unflatten(-1, (1 + out.shape[1], batch))[:, :, 1:]


def _logdet_gradient(kind: Kind, jacobian: Tensor) -> Tensor:
    """Return the derivative of the log-determinant by J (K, D, D, B)."""
    plus = invert(add_identity(jacobian)).transpose(1, 2)
    if kind == "residual":
        return plus
    if kind == "inverse_residual":
        return -plus
    return -plus - invert(add_identity(jacobian, -1.0)).transpose(1, 2)


def log_determinant(matrix: Tensor) -> Tensor:
    """Return log |det| of matrices (K, D, D, B), which have positive determinants here: (K, B)."""
    features = matrix.shape[1]
    if features == 1:
        return matrix[:, 0, 0].log()
    if features == 2:
        return (matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]).log()
    return torch.linalg.slogdet(matrix.movedim(-1, 1)).logabsdet
