"""The words of the registry: files, arrays and the sets made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray


class Unfit(Exception):
    """A file's content is not what it should be; the text is the predicate of a sentence."""


@dataclass(frozen=True)
class Pin:
    """The bytes a file must have: SHA-256 in hexadecimal, and their number."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Packed:
    """Name a file inside an archive at an official address.

    Args:
        url: of a zip, tar or tar.gz archive, or of one gzip-compressed file.
        member: path inside the archive; '' for a gzip-compressed file.
        md5: of the archive, as its publisher states it; '' where none is stated.
    """

    url: str
    member: str = ""
    md5: str = ""


@dataclass(frozen=True)
class RawFile:
    """Describe one file of a set, as its authors publish it.

    Args:
        name: the file's name in data/raw/<set>/.
        pin: the bytes behind `urls`; None where nobody states them, then `read` decides.
        urls: official addresses, tried in order.
        mirror: the path below a mirror folder.
        mirror_pin: the bytes in a mirror, where they are not the official ones.
        read: reads the file and raises `Unfit` where its content is not the expected one.
        content: what `read` expects, as the object of a sentence.
    """

    name: str
    pin: Pin | None
    urls: tuple[str | Packed, ...]
    mirror: str
    mirror_pin: Pin | None = None
    read: Callable[[Path], object] | None = None
    content: str = ""

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Every version that may lie in data/raw."""
        return tuple(pin for pin in (self.pin, self.mirror_pin) if pin is not None)

    @property
    def expected(self) -> str:
        """Return what the file must be, as the object of a sentence."""
        if self.pin is None:
            return self.content
        return f"{self.pin.size:,} bytes with SHA-256 {self.pin.sha256}"


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
    """Describe a raw set: `files` to bring, or `arrays` that `make` returns by name.

    `instead` holds further groups of files, each of which does as well as `files`.
    """

    name: str
    kind: Literal["embedded", "generated", "files"]
    files: tuple[RawFile, ...] = ()
    arrays: tuple[RawArray, ...] = ()
    make: Callable[[], dict[str, NDArray[Any]]] | None = None
    instead: tuple[tuple[RawFile, ...], ...] = ()

    @property
    def forms(self) -> tuple[tuple[RawFile, ...], ...]:
        """Every group of files that makes the set."""
        return (self.files, *self.instead) if self.files else self.instead
