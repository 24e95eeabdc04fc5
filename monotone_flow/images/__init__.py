"""Flows of images by invertible blocks: monotone, residual and inverse residual ones."""
