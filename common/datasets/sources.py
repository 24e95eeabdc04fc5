"""What raw data exist, where they come from, and the bytes they must have."""

import difflib
from collections.abc import Callable
from pathlib import Path

from common.datasets import cifar10, embedded, imagenet64, toys
from common.datasets.source import Packed, Pin, RawArray, RawFile, Source
from common.datasets.sources_tabular import TABULAR
from common.errors import UserError

__all__ = ["SOURCES", "Packed", "Pin", "RawArray", "RawFile", "Source", "find"]


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

# Decoders of JPEG differ in the last bit, which rounding to levels does not always swallow: no
# checksum.
PATCHES = Source(
    "patches",
    "generated",
    arrays=(
        RawArray("images", "uint8", (embedded.PATCHES, embedded.PATCH_SIDE, embedded.PATCH_SIDE)),
        RawArray("labels", "uint8", (embedded.PATCHES,)),
    ),
    make=embedded.patches,
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

# The mirror holds lossless tiles, less a few images that nobody had without loss.
CIFAR10 = Source(
    "cifar10",
    "files",
    files=(
        RawFile(
            cifar10.OFFICIAL,
            Pin("6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", 170_498_071),
            (f"https://www.cs.toronto.edu/~kriz/{cifar10.OFFICIAL}",),
            f"cifar10/{cifar10.OFFICIAL}",
        ),
    ),
    instead=(
        tuple(
            RawFile(file, pin, (), f"cifar10/{file}")
            for file, pin in {
                "train.zip": Pin(
                    "4e745167447d1fc7872d70a956cbee52065fbeaca1af185d05433ddef91692dd", 83_168_400
                ),
                "test.zip": Pin(
                    "9a9a0ce47404ebf071ed7be8b70894e7484ba282fe5bc555eb0f0c6c85f1060e", 16_593_670
                ),
                "labels.npz": Pin(
                    "71af603d6cae5ffd8b2b8bba2c3ea1a02dd4c61d74b9dd3d99f340269f64bbb7", 25_909
                ),
            }.items()
        ),
    ),
)


def _imagenet_file(name: str, read: Callable[[Path], object], what: str) -> RawFile:
    content = f"{what} (image-net.org gives the file to registered users)"
    return RawFile(name, None, (), f"imagenet64/{name}", read=read, content=content)


IMAGENET64 = Source(
    "imagenet64",
    "files",
    files=tuple(
        _imagenet_file(file, imagenet64.read_pngs, "64 x 64 PNG images") for file in imagenet64.TARS
    ),
    instead=(
        tuple(
            _imagenet_file(file, imagenet64.read_batch, "an array data, uint8 (N, 12288)")
            for file in imagenet64.BATCHES
        ),
    ),
)


def _tiles(name: str, pins: dict[str, Pin]) -> Source:
    """Return the source of images that were cropped, resized and tiled: no address has them so."""
    files = tuple(RawFile(file, pin, (), f"{name}/{file}") for file, pin in pins.items())
    return Source(name, "files", files=files)


CELEBA64 = _tiles(
    "celeba64",
    {
        "train.zip": Pin(
            "afbe6dec3cbb893b941d6705d15b41a9547137e8b9a0adf6b3603e0cce90fc67", 20_282_674
        ),
        "test.zip": Pin(
            "542a3a9894bef5b4a44a600d6b760532eb8dac793151c7de0011acf8464db1d2", 1_776_732
        ),
    },
)

OOD64 = _tiles(
    "ood64",
    {
        "glowip_celeba100.zip": Pin(
            "3105af49b5e2fbdaed7562fce17cca5a751eadc7fa2184435b0c3772563928df", 593_658
        ),
        "glowip_ffhq100.zip": Pin(
            "7ec290228b38921587f668f44a609c61bc448e9f50662351829d2d6beff11c5d", 677_968
        ),
        "glowip_birds.zip": Pin(
            "4dcac2fa05e06d47c428ad3cec61a8aeefa9a131bec2c86630d83e0e92e7aaad", 52_080
        ),
        "glowip_flowers.zip": Pin(
            "5344127c41f8d5f2a5cecfc94c7a5683ba99a5e9709158adfc4b712ee0b87e37", 89_520
        ),
        "glowip_ood.zip": Pin(
            "4a3056c93d0e9eb23208c7df971e8f163e5561c7fc527d3ceccb0c6c752bf296", 189_796
        ),
        "cub_birds.zip": Pin(
            "f0623de71df2822e1eb13148f8c261bcdf208770a2e979da6e5b89ef66724a0c", 1_907_911
        ),
        "flowers17.zip": Pin(
            "1f1175540ac732c39e4ae6ead533d771be1ef4dc5504761840e371c630fb5f55", 1_628_424
        ),
    },
)

# Cosine and logarithm decide the last bits of these: no checksum.
RINGS = Source(
    "rings",
    "generated",
    arrays=tuple(RawArray(f"{split}_x", "float64", (n, 2)) for split, n in toys.RING_SIZES.items()),
    make=toys.rings,
)

PICTURE = Source(
    "picture",
    "generated",
    arrays=(
        RawArray("picture", "uint8", (toys.PICTURE_SIDE, toys.PICTURE_SIDE)),
        *(RawArray(f"{split}_x", "float64", (n, 2)) for split, n in toys.PICTURE_SIZES.items()),
    ),
    make=toys.picture,
)

SOURCES: dict[str, Source] = {
    s.name: s
    for s in (
        MIXTURE,
        DIGITS,
        PATCHES,
        MNIST,
        FASHION_MNIST,
        CIFAR10,
        IMAGENET64,
        CELEBA64,
        OOD64,
        *TABULAR,
        RINGS,
        PICTURE,
    )
}


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
