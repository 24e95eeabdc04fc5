"""What raw data exist, where they come from, and the bytes they must have."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from common.datasets import embedded
from common.errors import UserError


@dataclass(frozen=True)
class Pin:
    """The bytes a file must have: SHA-256 in hexadecimal, and their number."""

    sha256: str
    size: int


@dataclass(frozen=True)
class RawFile:
    """Describe one file of a set, as its authors publish it.

    Args:
        name: the file's name in data/raw/<set>/.
        pin: the bytes behind `urls`.
        urls: official addresses, tried in order.
        mirror: the path below a mirror folder.
        mirror_pin: the bytes in a mirror, where they are not the official ones.
    """

    name: str
    pin: Pin
    urls: tuple[str, ...]
    mirror: str
    mirror_pin: Pin | None = None

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Every version that may lie in data/raw."""
        return (self.pin,) if self.mirror_pin is None else (self.pin, self.mirror_pin)


@dataclass(frozen=True)
class RawArray:
    """Describe one array of a set, kept in data/raw/<set>/<name>.npy.

    `sha256` is that of the array's bytes in C order; it is empty where they come out of floating
    point functions whose last bit depends on the machine.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str = ""


@dataclass(frozen=True)
class Source:
    """Describe a raw set: `files` to bring, or `arrays` that `make` returns by name."""

    name: str
    kind: Literal["embedded", "generated", "files"]
    files: tuple[RawFile, ...] = ()
    arrays: tuple[RawArray, ...] = ()
    make: Callable[[], dict[str, NDArray[Any]]] | None = None


def _idx_files(name: str, bases: tuple[str, ...], pins: dict[str, Pin]) -> Source:
    """Return the source of a set in MNIST's format: four compressed idx files."""
    files = tuple(
        RawFile(file, pin, tuple(base + file for base in bases), f"{name}/{file}")
        for file, pin in pins.items()
    )
    return Source(name, "files", files=files)


TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"

MIXTURE = Source(
    "mixture",
    "generated",
    arrays=tuple(
        array
        for split, n in embedded.MIXTURE_SIZES.items()
        for array in (
            RawArray(f"{split}_x", "float64", (n, 2)),
            RawArray(f"{split}_y", "uint8", (n,)),
        )
    ),
    make=embedded.mixture,
)

DIGITS = Source(
    "digits",
    "embedded",
    arrays=(
        RawArray(
            "images",
            "uint8",
            (1797, 8, 8),
            "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
        ),
        RawArray(
            "labels",
            "uint8",
            (1797,),
            "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
        ),
    ),
    make=embedded.digits,
)

# The MNIST address is the one torchvision uses: the authors' own page refuses most downloads.
MNIST = _idx_files(
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/",),
    {
        TRAIN_IMAGES: Pin(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422
        ),
        TRAIN_LABELS: Pin(
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881
        ),
        TEST_IMAGES: Pin(
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877
        ),
        TEST_LABELS: Pin("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
    },
)

FASHION_MNIST = _idx_files(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    {
        TRAIN_IMAGES: Pin(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880
        ),
        TRAIN_LABELS: Pin(
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515
        ),
        TEST_IMAGES: Pin(
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102
        ),
        TEST_LABELS: Pin("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
    },
)

SOURCES: dict[str, Source] = {s.name: s for s in (MIXTURE, DIGITS, MNIST, FASHION_MNIST)}


def find(name: str) -> Source:
    """Return the source of this name.

    Raises:
        UserError: for an unknown name, with the nearest valid one.
    """
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise UserError(f"unknown data set '{name}'{hint}; expected one of {', '.join(SOURCES)}")
