"""Solvers that converge or raise."""

from common.solvers.anderson import anderson
from common.solvers.damped import damped
from common.solvers.errors import NotConverged
from common.solvers.fixed_point import fixed_point
from common.solvers.implicit import implicit
from common.solvers.precision import full_precision
from common.solvers.solution import Solution
from common.solvers.solve import solve

__all__ = [
    "NotConverged",
    "Solution",
    "anderson",
    "damped",
    "fixed_point",
    "full_precision",
    "implicit",
    "solve",
]
