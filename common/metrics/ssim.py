"""How alike images are in structure."""

import torch
from torch import Tensor

WINDOW = 7


def ssim(x: Tensor, original: Tensor) -> Tensor:
    """Return the structural similarity of each image to its original, float64, at most 1.

    x is clamped to [0, 1] first. The statistics are those of uniform windows of 7 x 7 pixels, or
    of the largest odd size that fits where an image is smaller, and the mean is over the windows
    that lie inside the image: four of them at 8 x 8 pixels. Channels are averaged. An image with a
    NaN has NaN.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", 2004, computed by scikit-image.

    Shapes: (*batch, C, H, W) -> (*batch,).

    Raises:
        ValueError: the shapes differ, or an image has fewer than 3 x 3 pixels.
    """
    from skimage.metrics import structural_similarity

    if x.shape != original.shape or x.dim() < 3:
        raise ValueError(
            f"expected two batches (*batch, C, H, W) of one shape, got {tuple(x.shape)} and "
            f"{tuple(original.shape)}"
        )
    side = min(x.shape[-2:])
    if side < 3:
        raise ValueError(f"ssim: expected at least 3 x 3 pixels, got {tuple(x.shape[-2:])}")
    window = min(WINDOW, side - 1 + side % 2)
    event = x.shape[-3:]
    pairs = zip(
        x.detach().double().clamp(0, 1).reshape(-1, *event).cpu().numpy(),
        original.detach().double().reshape(-1, *event).cpu().numpy(),
        strict=True,
    )
    values = [
        float(structural_similarity(a, b, win_size=window, data_range=1.0, channel_axis=0))
        for a, b in pairs
    ]
    return torch.tensor(values, dtype=torch.float64).reshape(x.shape[:-3])
