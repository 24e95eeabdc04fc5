"""LU-Net, and RealNVP beside it.

Source: Chan, Penquitt, Gottschalk, "LU-Net: Invertible Neural Networks Based on Matrix
Factorization", 2023, https://arxiv.org/abs/2302.10524.
"""
