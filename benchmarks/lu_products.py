"""The matrix products of LU layers, as our layer cuts them."""

import torch

from benchmarks.limits import Product
from common.bijections import lu


def training_products(
    batch: tuple[int, ...], rows: int, features: int, device: torch.device, to_input: bool = True
) -> list[Product]:
    """Return the products of one forward and backward pass of an LU layer.

    With n strips their work is (1 + 1/n) / 2 of that of the dense products: two forward, two for
    the gradient of the parameters, and for that of the hidden vector and the input one each.

    Args:
        batch: leading dimensions, one per model.
        rows: B, items of each model.
        features: D.
        device: decides on the strips.
        to_input: whether the input needs a gradient.
    """
    products = []
    for a, b in lu.strips(features, device):
        width = b - a
        products += [
            Product(batch, rows, features - a, width, "nt"),  # h = x U^T
            Product(batch, rows, b, width, "nt"),  # z = h L^T
            Product(batch, rows, features - a, width, "nn"),  # dh = dz L
            Product(batch, width, rows, b, "tn"),  # dL = dz^T h
            Product(batch, width, rows, features - a, "tn"),  # dU = dh^T x
        ]
        if to_input:
            products.append(Product(batch, rows, b, width, "nn"))  # dx = dh U
    return products


def inverse_flops(rows: int, features: int) -> float:
    """Return the operations of both triangular solves of one layer: D^2 for each row and factor."""
    return 2.0 * rows * features**2
