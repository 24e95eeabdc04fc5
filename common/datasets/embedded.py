"""Sets that need no download: arrays that scikit-learn holds or makes.

Imported by the registry, so scikit-learn is loaded only when a set is made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CENTRES_SEED = 1
STD = 0.20
MIXTURE_SIZES = {"train": 9_000, "valid": 1_000, "test": 1_000}
# The published test set reuses the training seed, so 250 of its 1,000 points are training points.
# Only the training seed is theirs.
_SEEDS = {"train": CENTRES_SEED, "valid": 3, "test": 2}

PATCHES = 400
PATCH_SIDE = 8
PATCH_LEVELS = 17  # those of the digits
# At full size most patches would hardly differ from a constant, and JPEG wrote blocks of 8 x 8
# pixels by few cosines, which would flatter a recovery by cosines.
PATCH_SHRINK = 3
_PATCH_SEED = 20240229


def mixture_centres() -> NDArray[np.float64]:
    """Return the centres of LU-Net's toy mixture, shape (4, 2), as the seed places them."""
    from sklearn.datasets import make_blobs

    *_, centres = make_blobs(n_samples=4, centers=4, random_state=CENTRES_SEED, return_centers=True)
    return centres


def mixture() -> dict[str, NDArray[Any]]:
    """Return points (N, 2) and components (N,) of each split of LU-Net's toy mixture.

    Components are equally filled, as `make_blobs` does it; training points are the published ones.
    Source: Chan, Penquitt and Gottschalk, "LU-Net: Invertible Neural Networks Based on Matrix
    Factorization", 2023, Gaussian mixture experiment.
    """
    from sklearn.datasets import make_blobs

    arrays: dict[str, NDArray[Any]] = {}
    for split, n in MIXTURE_SIZES.items():
        # A number draws the centres first, which the published training stream needs.
        centres = 4 if split == "train" else mixture_centres()
        x, y = make_blobs(n_samples=n, centers=centres, cluster_std=STD, random_state=_SEEDS[split])
        arrays[f"{split}_x"] = x
        arrays[f"{split}_y"] = y.astype(np.uint8)
    return arrays


def digits() -> dict[str, NDArray[Any]]:
    """Return the 1,797 handwritten digits of 8x8 pixels, values 0 to 16, and their labels.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998, test part,
    as scikit-learn holds it.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return {"images": bunch.images.astype(np.uint8), "labels": bunch.target.astype(np.uint8)}


def wine() -> dict[str, NDArray[Any]]:
    """Return the wine recognition table, (178, 13).

    Source: Aeberhard and Forina, "Wine", UCI, 1991, as scikit-learn holds it.
    """
    from sklearn.datasets import load_wine

    return {"x": load_wine().data}


def breast_cancer() -> dict[str, NDArray[Any]]:
    """Return the Wisconsin diagnostic breast cancer table, (569, 30).

    Source: Wolberg, Mangasarian, Street and Street, "Breast Cancer Wisconsin (Diagnostic)", UCI,
    1993, as scikit-learn holds it.
    """
    from sklearn.datasets import load_breast_cancer

    return {"x": load_breast_cancer().data}


def patches() -> dict[str, NDArray[Any]]:
    """Return 8x8 patches of two photographs, values 0 to 16, and which photograph each is of.

    They have the digits' size and levels, but are parts of a temple (0) and of a flower (1): images
    for a model of the digits to meet for the first time. Half are of either. The pictures are made
    grey (luma of Rec. 601) and shrunk by means of 3 x 3 pixels; a seed chooses among the cells of a
    grid, so that patches do not overlap, but for cells of one level only.

    Source: the two sample images that scikit-learn holds, by danielbuechele (temple) and vultilion
    (flower), under CC BY 2.0.
    """
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(_PATCH_SEED)
    chosen = []
    for picture in load_sample_images().images:
        grey = picture @ np.array([0.299, 0.587, 0.114])
        small = _cells(grey, PATCH_SHRINK).mean((2, 3))
        levels = np.rint(small * ((PATCH_LEVELS - 1) / 255)).astype(np.uint8)
        flat = _cells(levels, PATCH_SIDE).reshape(-1, PATCH_SIDE, PATCH_SIDE)
        flat = flat[np.ptp(flat, (1, 2)) > 0]
        chosen.append(flat[np.sort(rng.choice(len(flat), PATCHES // 2, replace=False))])
    labels = np.repeat(np.arange(2, dtype=np.uint8), PATCHES // 2)
    return {"images": np.concatenate(chosen), "labels": labels}


def _cells(picture: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the whole cells of a grid over a picture, (rows, columns, side, side)."""
    rows, columns = (length // side for length in picture.shape)
    whole = picture[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side).swapaxes(1, 2)
