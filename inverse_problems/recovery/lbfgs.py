"""Batched L-BFGS: every image has its own history, steps, tolerances and end."""

import torch
from torch import Tensor

from inverse_problems.recovery.budgets import LBFGS
from inverse_problems.recovery.history import History
from inverse_problems.recovery.line_search import SEARCHES, Point, Ray
from inverse_problems.recovery.solved import Solved, Status, Values
from inverse_problems.recovery.watch import Watch

# Least s . y of a pair: as published where steps are fixed, else relative to |s| |y|, since small
# pairs near a minimum are good ones.
LEAST_CURVATURE = 1e-10
# Ended rows are let go once they are this share: moving the histories of the others costs time.
DROP = 0.25


@torch.no_grad()
def lbfgs(values: Values, z0: Tensor, budget: LBFGS) -> Solved:
    """Minimise the value of each image from its start, independently of the others.

    With mode "fixed" an image goes exactly where torch.optim.LBFGS without a line search takes it
    alone; what that one evaluates twice, at the start of each outer step, is evaluated once here.
    An image that meets a tolerance waits for the next outer step, and is let go if that one does
    not move it. In mode "fixed" a value or gradient that is not finite ends the image: it FAILED,
    and its best point is returned. In the other modes such a step is shortened.

    Args:
        values: what to minimise, image by image.
        z0: starts, (B, k).
        budget: how long, and how.

    Reference: Updating Quasi-Newton Matrices with Limited Storage, Jorge Nocedal, 1980,
    https://doi.org/10.1090/S0025-5718-1980-0572855-7.
    """
    watch = Watch(values, z0, budget.outer)
    z = z0.detach().clone()
    everyone = torch.ones(len(z), dtype=torch.bool, device=z.device)
    point = Point(z, *watch.evaluate(z, everyone))
    watch.record(0, z, point.value)
    run = _Run(budget, watch, point)
    steps = 0
    for steps in range(1, budget.outer + 1):
        if run.shrink() == 0:
            steps -= 1
            break
        run.outer_step()
        watch.record(steps, run.point.z, run.point.value)
    return watch.solved(steps)


class _Run:
    """The state of the images in work, R rows."""

    def __init__(self, budget: LBFGS, watch: Watch, point: Point) -> None:
        self.budget, self.watch, self.point = budget, watch, point
        self.search = SEARCHES[budget.mode]
        memory = min(budget.memory, budget.outer * budget.inner)
        self.history = History(len(point.z), memory, point.z)
        # Rows whose next step is the first one, or the first after their history was given up.
        self.fresh = torch.ones_like(point.value, dtype=torch.bool)
        self.ended = torch.zeros_like(self.fresh)
        self._end(~point.value.isfinite(), Status.FAILED)

    def shrink(self) -> int:
        """Let go of ended rows if they are many; return how many are left that move."""
        ended = int(self.ended.sum())
        if ended > DROP * self.watch.rows:
            rows = self.watch.drop(self.ended)
            self.history.take(rows)
            point = self.point
            self.point = Point(point.z[rows], point.value[rows], point.grad[rows])
            self.fresh, self.ended = self.fresh[rows], self.ended[rows]
            return len(rows)
        return self.watch.rows - ended

    def outer_step(self) -> None:
        """Take the inner iterations of all rows that have not ended."""
        before = self.point.z
        if self.budget.evaluations is not None:
            self.ended |= self.watch.counts >= self.budget.evaluations
        running = ~self.ended
        resting = torch.zeros_like(running)
        for _ in range(self.budget.inner):
            flat = self.point.grad.abs().amax(-1) <= self.budget.tolerance_grad
            resting |= running & flat
            running = running & ~flat
            if not bool(running.any()):
                break
            running, met = self._iterate(running)
            resting |= met
        self.watch.mark(resting & ~self.ended, Status.CONVERGED)
        self.watch.mark(~resting & ~self.ended, Status.BUDGET)
        # A row that rested without having moved would do so for ever.
        self.ended |= resting & (self.point.z == before).all(-1)

    def _iterate(self, running: Tensor) -> tuple[Tensor, Tensor]:
        """Move the running rows once; return which go on, and which met a tolerance."""
        budget, old = self.budget, self.point
        d = self.history.direction(old.grad)
        slope = (old.grad * d).sum(-1)
        # Not "slope > -tolerance": one that is not a number shows in the value of the next point.
        met = running & (slope > -budget.tolerance_change)
        moving = running & ~met
        first = torch.where(self.fresh, old.grad.abs().sum(-1).reciprocal().clamp(max=1.0), 1.0)
        ray = Ray(old, d, slope, budget.lr * first)
        self.point, t = self.search(self.watch, ray, moving)
        moved = t > 0
        step = t.unsqueeze(-1) * d
        self._remember(step, self.point.grad - old.grad, moved)
        lost = moving & ~moved
        if bool(lost.any()):
            self._recover(lost)
        small = step.abs().amax(-1) <= budget.tolerance_change
        small |= (self.point.value - old.value).abs() < budget.tolerance_change
        met = met | (moved & small)
        running = running & ~met & ~self.ended
        if budget.evaluations is not None:
            running &= self.watch.counts < budget.evaluations
        return running, met

    def _remember(self, s: Tensor, y: Tensor, moved: Tensor) -> None:
        least: Tensor | float = LEAST_CURVATURE
        if self.budget.mode != "fixed":
            least = LEAST_CURVATURE * s.norm(dim=-1) * y.norm(dim=-1)
        self.history.push(s, y, moved, least)
        self.fresh &= ~moved

    def _recover(self, lost: Tensor) -> None:
        """End rows that found no step, or let them forget their history, which misled them."""
        if self.budget.mode == "fixed":
            self._end(lost, Status.FAILED)
            return
        self._end(lost & self.fresh, Status.STALLED)
        self.history.forget(lost)
        self.fresh |= lost

    def _end(self, rows: Tensor, status: Status) -> None:
        """End rows at their best point."""
        self.watch.mark(rows, status)
        self.ended |= rows
        best = Point(self.watch.best(), self.watch.lowest(), self.point.grad)
        self.point = self.point.where(rows, best)
