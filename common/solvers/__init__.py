"""Solvers that converge or raise."""

from common.solvers.errors import NotConverged

__all__ = ["NotConverged"]
