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
