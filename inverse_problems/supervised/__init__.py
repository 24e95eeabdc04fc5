"""Inverse problems solved by an invertible network trained in both directions."""
