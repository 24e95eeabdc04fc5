"""The resolutions that a convolutional decoder passes through, from its first map to the image."""

COARSEST = 4


def halvings(height: int, width: int) -> int:
    """Return how often an image is halved before either side falls below 4 or is odd.

    So 64, 32 and 8 pixels end at 4 x 4 after 4, 3 and 1 halvings, and 28 pixels at 7 x 7 after 2:
    an image of 28 pixels is then made without cropping one of 32.

    Args:
        height: H, in pixels.
        width: W, in pixels.

    Raises:
        ValueError: the image cannot be halved at all.
    """
    times = 0
    while all(side % 2 == 0 and side // 2 >= COARSEST for side in (height, width)):
        height, width, times = height // 2, width // 2, times + 1
    if not times:
        raise ValueError(
            f"halvings: expected even sides of at least {2 * COARSEST} pixels, "
            f"got {height} x {width}"
        )
    return times
