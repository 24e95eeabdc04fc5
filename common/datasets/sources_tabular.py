"""Where the tables and patches of density estimation come from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.datasets import bsds300, embedded, maf_files
from common.datasets.source import Packed, Pin, RawArray, RawFile, Source
from common.datasets.uci import TABLES

_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
# Repositories that hold the UCI files, by commit: there the bytes are known.
_BROWNLEE = (
    "https://raw.githubusercontent.com/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f"
)
_TELEMONITORING = (
    "https://raw.githubusercontent.com/behnazrzf/Parkinson-s_Telemonitoring/"
    "f603774b38bfc967f20b4752bec4b6f872917d98"
)


def _maf(member: str) -> Packed:
    """Return a file of the archive that the MAF paper's authors published (0.9 GB)."""
    return Packed(
        "https://zenodo.org/record/1161203/files/data.tar.gz?download=1",
        f"data/{member}",
        "9b9c9b0375315ad270eba4ce80c093ab",
    )


def _small(name: str, sha256: str, size: int, *urls: str) -> Source:
    file = TABLES[name].file
    return Source(
        name, "files", files=(RawFile(file, Pin(sha256, size), urls, f"uci_rnade/{file}"),)
    )


def _embedded(
    name: str, columns: int, sha256: str, make: Callable[[], dict[str, NDArray[Any]]]
) -> Source:
    array = RawArray("x", "float64", (TABLES[name].rows, columns), sha256)
    return Source(name, "embedded", arrays=(array,), make=make)


def _unpinned(
    folder: str,
    name: str,
    url: str | Packed,
    read: Callable[[Path], object],
    content: str,
) -> RawFile:
    """Return a file whose bytes nobody states, and which its content verifies."""
    return RawFile(name, None, (url,), f"{folder}/{name}", read=read, content=content)


_SMALL = (
    _small(
        "red-wine",
        "c9614512e980f1cbd221c796daa97f00c4898c3cd1716863abac60f6cd1a522e",
        84_028,
        f"{_BROWNLEE}/winequality-red.csv",
    ),
    _small(
        "white-wine",
        "659d419fff887f225bf977d20520bb64a64cae203e460087f809721d4430ba27",
        264_255,
        f"{_BROWNLEE}/winequality-white.csv",
    ),
    _small(
        "parkinsons",
        "f2c7d5025dec4e92e7feae367a5f7ccf58789a10ac6b54bdf15976c599f9dd39",
        911_261,
        f"{_UCI}/parkinsons/telemonitoring/parkinsons_updrs.data",
        f"{_TELEMONITORING}/data/parkinsons_updrs.data",
    ),
    _small(
        "ionosphere",
        "fd6dd7864b55d56dac0a1e6e24af9ccc35bf2555ac79af8ab9f3d1daa065ab83",
        76_466,
        f"{_UCI}/ionosphere/ionosphere.data",
        f"{_BROWNLEE}/ionosphere.csv",
    ),
    _small(
        "boston-housing",
        "e3e36f7b9e5435f9eb8320e106aebad00031fefa3064527da0c71dec59e49b76",
        49_081,
        f"{_UCI}/housing/housing.data",
        f"{_BROWNLEE}/housing.data",
        f"{_BROWNLEE}/housing.csv",
    ),
    _embedded(
        "wine",
        13,
        "8edcf3903afd97c64d51e0212eb10b213f7943da650574d1c055b836c5c35d37",
        embedded.wine,
    ),
    _embedded(
        "breast-cancer",
        30,
        "6b202a2072f9a0385f405a8f8605b1b06f6f36ae6d23d9cd6cbbc0974a416bc7",
        embedded.breast_cancer,
    ),
)

_POWER = Source(
    "power",
    "files",
    files=(
        _unpinned(
            "power",
            "data.npy",
            _maf("power/data.npy"),
            maf_files.read_power_npy,
            "2,049,280 rows of 8 numbers",
        ),
    ),
    instead=(
        (
            _unpinned(
                "power",
                "household_power_consumption.txt",
                Packed(
                    f"{_UCI}/00235/household_power_consumption.zip",
                    "household_power_consumption.txt",
                ),
                maf_files.read_power_text,
                "2,049,280 complete rows",
            ),
        ),
    ),
)

_GAS = Source(
    "gas",
    "files",
    files=(
        _unpinned(
            "gas",
            "ethylene_CO.pickle",
            _maf("gas/ethylene_CO.pickle"),
            maf_files.read_gas,
            "a data frame of 1,052,065 rows and 19 columns",
        ),
    ),
)

_HEPMASS = Source(
    "hepmass",
    "files",
    files=(
        _unpinned(
            "hepmass",
            "1000_train.csv",
            _maf("hepmass/1000_train.csv"),
            maf_files.read_hepmass_train,
            "350,136 signal rows",
        ),
        _unpinned(
            "hepmass",
            "1000_test.csv",
            _maf("hepmass/1000_test.csv"),
            maf_files.read_hepmass_test,
            "174,987 signal rows",
        ),
    ),
)

_MINIBOONE = Source(
    "miniboone",
    "files",
    files=(
        _unpinned(
            "miniboone",
            "data.npy",
            _maf("miniboone/data.npy"),
            maf_files.read_miniboone_npy,
            "36,488 rows of 43 numbers",
        ),
    ),
    instead=(
        (
            _unpinned(
                "miniboone",
                "MiniBooNE_PID.txt",
                f"{_UCI}/00199/MiniBooNE_PID.txt",
                maf_files.read_miniboone_text,
                "signal rows that leave 36,488 of 43 numbers",
            ),
        ),
    ),
)

# The mirror's archive holds the same images as the official one, packed once more.
_BSDS300 = Source(
    "bsds300",
    "files",
    files=(
        RawFile(
            "bsds300_images.zip",
            Pin("3e16c10f1a3b2f05bf13cccabf9f25df488f5caa49b3233c51573655e7de1a24", 22_279_245),
            (),
            "bsds300/bsds300_images.zip",
        ),
    ),
    instead=(
        (
            _unpinned(
                "bsds300",
                "BSDS300-images.tgz",
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/"
                "BSDS300-images.tgz",
                bsds300.read_images,
                "200 train and 100 test images",
            ),
        ),
    ),
)

# Pieces collected from public repositories; there is no official address.
_PARTIAL = Source(
    "miniboone-partial",
    "files",
    files=(
        RawFile(
            "miniboone_partial.npz",
            Pin("223e23fb7790a49c03f5aa7ef0b3c27911b4e1b6eb4cced054fbaaf2b1e43b94", 2_692_628),
            (),
            "miniboone_partial/miniboone_partial.npz",
        ),
    ),
)
_FRAGMENT = Source(
    "power-fragment",
    "files",
    files=(
        RawFile(
            "power_first_minutes.npz",
            Pin("731db719dafcc19e9a50a9f088f53350a497e911e4d0edf0be60ebc8d0077d1a", 379_551),
            (),
            "power_fragment/power_first_minutes.npz",
        ),
    ),
)

TABULAR = (*_SMALL, _POWER, _GAS, _HEPMASS, _MINIBOONE, _BSDS300, _PARTIAL, _FRAGMENT)
