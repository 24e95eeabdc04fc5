"""Solve w + g(w) = t for small nets: Newton with the exact Jacobian, and bracketing for scalars.

With Lip(g) < 1 the left side is strongly monotone, so there is one solution. K nets solve side by
side; samples that a few joint steps leave over go on by themselves, in a smaller batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.solvers import NotConverged
from common.solvers import solve as averaged
from monotone_flow.fused import fusible
from monotone_flow.tape import Net, Tape, evaluate

# The residual is relative to 1 + max |t| + max |w|; rounding leaves a few epsilon of it.
TOLERANCE_EPS = 16
JOINT_STEPS = {torch.float32: 3, torch.float64: 5}
LIMIT, AVERAGED = 60, 10_000
COARSE, POLISH = 64, 4
HARD = (32, 128)
NODES = 1024


class Root(NamedTuple):
    """Hold the solution w (K, D, B) and the tape of g there; samples evaluated over K B."""

    w: Tensor
    tape: Tape
    evaluations: float


def tolerance(dtype: torch.dtype) -> float:
    """Return the relative residual at which a solve ends."""
    return TOLERANCE_EPS * torch.finfo(dtype).eps


def solve(net: Net, target: Tensor, *, tangents: bool, tol: float | None = None) -> Root:
    """Return w with w + g(w) = t for t (K, D, B), and the tape at w, without a graph.

    Raises:
        NotConverged: a residual is above the tolerance after all, or not finite.
    """
    tol = tol or tolerance(target.dtype)
    if target.shape[-1] == 0:
        return Root(target, evaluate(net, target, tangents=tangents), 0.0)
    if target.shape[1] == 1:
        return _bracketed(net, target, tol, tangents)
    return _newton(net, target, tol)


def add_identity(jacobian: Tensor, sign: float = 1.0) -> Tensor:
    """Return I + sign J of J (K, D, D, B)."""
    features = jacobian.shape[1]
    eye = torch.eye(features, dtype=jacobian.dtype, device=jacobian.device)
    return eye.unsqueeze(-1) + sign * jacobian


def invert(matrix: Tensor) -> Tensor:
    """Return the inverses of matrices (K, D, D, B)."""
    features = matrix.shape[1]
    if features == 1:
        return matrix.reciprocal()
    if features == 2:
        a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
        adjugate = torch.stack((d, -b, -c, a), 1).unflatten(1, (2, 2))
        return adjugate / (a * d - b * c)[:, None, None]
    # (Not `inv`, whose error on a singular matrix would take the place of NotConverged.)
    return torch.linalg.inv_ex(matrix.movedim(-1, 1)).inverse.movedim(1, -1)


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return products of matrices (K, D, D, B) with vectors (K, D, B)."""
    return (matrix * vector.unsqueeze(1)).sum(2)


def apply_transposed(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return products of transposed matrices (K, D, D, B) with vectors (K, D, B)."""
    return (matrix * vector.unsqueeze(2)).sum(1)


def _scale(target: Tensor, w: Tensor) -> Tensor:
    """Return what residuals are relative to: the sizes of what is added up, (K, D, B) -> (K, B)."""
    return 1 + target.abs().amax(1) + w.abs().amax(1)


def _refuse(error: Tensor, tol: float, steps: int) -> None:
    worst = float(error.max())
    raise NotConverged(
        f"w + g(w) = t: residual {worst:.1e} > {tol:.0e} after {steps} steps; expected Lip(g) < 1 "
        "and finite weights"
    )


@fusible
def _step(w: Tensor, out: Tensor, target: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the residual (K, B), also relative, and where Newton goes from w (K, D, B)."""
    columns = out.unflatten(-1, (-1, batch))
    residual = w + columns[:, :, 0] - target
    size = residual.abs().amax(1)
    matrix = add_identity(columns[:, :, 1:])
    return size, size / _scale(target, w), w - apply(invert(matrix), residual)


def _newton(net: Net, target: Tensor, tol: float) -> Root:
    batch = target.shape[-1]
    w, effort = target, 0.0
    for _ in range(JOINT_STEPS.get(target.dtype, 3)):
        tape = evaluate(net, w, tangents=True)
        effort += 1
        _, error, ahead = _step(w, tape.out, target, batch)
        left = int((~(error <= tol)).sum(-1).max())
        if left == 0:
            return Root(w, tape, effort)
        before, w = w, ahead
    # A few hard samples are left over: they go on in a batch of their own, whose size is rounded up
    # so that there are few sizes to compile for, and their columns of the tape are replaced.
    left = next((size for size in HARD if left <= size <= batch), batch)
    index = error.topk(left).indices
    hard = index.unsqueeze(1).expand(-1, w.shape[1], -1)
    solved, own, steps = _safe_newton(net, ahead.gather(-1, hard), target.gather(-1, hard), tol)
    w = before.scatter(-1, hard, solved)
    return Root(w, tape.with_columns(index, own), effort + steps * left / batch)


def _safe_newton(net: Net, w: Tensor, target: Tensor, tol: float) -> tuple[Tensor, Tape, int]:
    """Take Newton steps, halved for a sample as long as its residual does not fall.

    Where kinks stop that, averaged steps go on: slow, but sure for every g.
    """
    batch = w.shape[-1]
    best, smallest = w, w.new_full((w.shape[0], batch), torch.inf)
    done = torch.zeros_like(smallest, dtype=torch.bool)
    step = torch.zeros_like(w)
    share = torch.ones_like(smallest)
    for steps in range(1, LIMIT + 1):
        tape = evaluate(net, w, tangents=True)
        size, error, ahead = _step(w, tape.out, target, batch)
        done = error <= tol
        if bool(done.all()):
            return w, tape, steps
        better = size < smallest
        step = torch.where(better.unsqueeze(1), ahead - w, step)
        best = torch.where((better | done).unsqueeze(1), w, best)
        smallest = torch.where(better, size, smallest)
        share = torch.where(better, 1.0, share / 2)
        # One that is solved stays, so that all are at their solutions when the last one is.
        w = torch.where(done.unsqueeze(1), w, best + share.unsqueeze(1) * step)

    def picard(points: Tensor) -> Tensor:
        return target.mT - evaluate(net, points.mT, tangents=False).value.mT

    # Their last steps are lost in rounding, the more the closer Lip(g) is to one: Newton ends it.
    found = averaged(picard, best.mT, tol=COARSE * tol, limit=AVERAGED, scale=_scale(target, best))
    w = found.x.mT
    for steps in range(1, POLISH + 1):
        tape = evaluate(net, w, tangents=True)
        _, error, ahead = _step(w, tape.out, target, batch)
        done = error <= tol
        if bool(done.all()):
            return w, tape, LIMIT + found.evaluations + steps
        w = torch.where(done.unsqueeze(1), w, ahead)
    _refuse(error, tol, LIMIT + found.evaluations + POLISH)
    raise AssertionError


def _bracketed(net: Net, target: Tensor, tol: float, tangents: bool) -> Root:
    """Solve for scalars: h(w) = w + g(w) rises, so a table of h brackets every solution."""
    batch = target.shape[-1]
    t = target[:, 0]
    nodes, heights = _table(net, t)
    above = torch.searchsorted(heights, t.contiguous()).clamp(1, NODES - 1)
    low, high = nodes.gather(-1, above - 1), nodes.gather(-1, above)
    low_r, high_r = heights.gather(-1, above - 1) - t, heights.gather(-1, above) - t
    w = low - low_r * (high - low) / (high_r - low_r)
    tape = evaluate(net, w.unsqueeze(1), tangents=tangents)
    residual = w + tape.value[:, 0] - t
    effort = 1 + NODES / batch
    error = residual.abs() / (1 + t.abs() + w.abs())
    left = int((~(error <= tol)).sum(-1).max())
    if left == 0:
        return Root(w.unsqueeze(1), tape, effort)
    index = error.topk(left).indices

    def of(tensor: Tensor) -> Tensor:
        return tensor.gather(-1, index)

    solved, work = _illinois(
        net, of(w), of(residual), of(t), (of(low), of(high)), (of(low_r), of(high_r)), tol
    )
    w = w.scatter(-1, index, solved)
    tape = evaluate(net, w.unsqueeze(1), tangents=tangents)
    error = (w + tape.value[:, 0] - t).abs() / (1 + t.abs() + w.abs())
    # Products over another number of columns round otherwise.
    if not bool((error <= 4 * tol).all()):
        _refuse(error, tol, LIMIT)
    return Root(w.unsqueeze(1), tape, effort + 1 + work / batch)


def _table(net: Net, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return nodes and heights h(node), (K, NODES) each, whose heights reach across t (K, B)."""
    middle, half = (t.amin(-1) + t.amax(-1)) / 2, (t.amax(-1) - t.amin(-1)) / 2 + 1
    for _ in range(LIMIT):
        ends = torch.stack((middle - half, middle + half), -1)
        heights = ends + evaluate(net, ends.unsqueeze(1), tangents=False).value[:, 0]
        inside = (heights[:, 0] < t.amin(-1)) & (heights[:, 1] > t.amax(-1))
        if bool(inside.all()):
            break
        half = torch.where(inside, half, 2 * half)
    else:
        raise NotConverged(
            f"w + g(w) = t: not bracketed within {float(half.max()):.0e}; expected Lip(g) < 1 and "
            "finite weights"
        )
    share = torch.linspace(0, 1, NODES, dtype=t.dtype, device=t.device)
    nodes = ends[:, :1] + share * (ends[:, 1:] - ends[:, :1])
    heights = nodes + evaluate(net, nodes.unsqueeze(1), tangents=False).value[:, 0]
    # Rounding may bend the table where h is steep against the nodes' distance.
    return nodes, heights.cummax(-1).values


def _illinois(
    net: Net,
    w: Tensor,
    residual: Tensor,
    t: Tensor,
    ends: tuple[Tensor, Tensor],
    values: tuple[Tensor, Tensor],
    tol: float,
) -> tuple[Tensor, float]:
    """Shrink brackets by secants that are weighted so that both ends move; (K, B) everywhere."""
    low, high = ends
    low_r, high_r = values
    side = torch.zeros_like(w)  # the sign of the residual that came last
    best, best_error = w, residual.abs() / (1 + t.abs() + w.abs())
    work = 0.0
    for step in range(LIMIT):
        negative = residual < 0
        # An end that stays twice in a row counts half: without it one end never moves.
        high_r = torch.where(negative & (side < 0), high_r / 2, high_r)
        low_r = torch.where(~negative & (side > 0), low_r / 2, low_r)
        low, low_r = torch.where(negative, w, low), torch.where(negative, residual, low_r)
        high, high_r = torch.where(negative, high, w), torch.where(negative, high_r, residual)
        side = torch.where(negative, -1.0, 1.0)
        width = high_r - low_r
        secant = low - low_r * (high - low) / torch.where(width > 0, width, 1.0)
        inside = (width > 0) & (secant > low) & (secant < high)
        w = torch.where(inside & (step % 8 < 7), secant, (low + high) / 2)
        residual = w + evaluate(net, w.unsqueeze(1), tangents=False).value[:, 0] - t
        work += w.shape[-1]
        error = residual.abs() / (1 + t.abs() + w.abs())
        better = error < best_error
        best = torch.where(better, w, best)
        best_error = torch.where(better, error, best_error)
        if bool((best_error <= tol).all()):
            return best, work
    _refuse(best_error, tol, LIMIT)
    raise AssertionError
