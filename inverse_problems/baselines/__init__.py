"""Recoveries that learn nothing: sparsity, total variation, BM3D, the pseudo-inverse."""
