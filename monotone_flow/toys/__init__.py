"""The eight two-dimensional sets of Table 1: draws, true densities and entropies."""

from monotone_flow.toys.registry import TOYS, Toy

__all__ = ["TOYS", "Toy"]
