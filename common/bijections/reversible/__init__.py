"""Chains of bijections that train in memory independent of their depth."""

from common.bijections.reversible.module import BOUND, Backprop, Reversible
from common.bijections.reversible.walk import Reconstruction

__all__ = ["BOUND", "Backprop", "Reconstruction", "Reversible"]
