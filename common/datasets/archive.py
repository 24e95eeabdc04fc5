"""Unpack an archive that is not trusted: everything or nothing, and only plain files."""

import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from common.errors import UserError

MAX_BYTES = 16 << 30
MAX_RATIO = 100.0
MAX_MEMBERS = 1_000_000
# An archive of one small file is mostly padding; below this many bytes no ratio alarms anyone.
_HARMLESS = 1 << 20
_CHUNK = 1 << 18
_Stream = IO[bytes] | io.BufferedIOBase


def extract(
    archive: Path,
    folder: Path,
    *,
    max_bytes: int = MAX_BYTES,
    max_ratio: float = MAX_RATIO,
    max_members: int = MAX_MEMBERS,
) -> None:
    """Unpack a zip, tar or tar.gz archive to a new folder; a refused one leaves nothing behind.

    Bytes are counted as they come out, whatever sizes the archive states. Owners, modes and times
    in the archive are ignored.

    Args:
        archive: the file to unpack.
        folder: where to; it must be absent or empty.
        max_bytes: most bytes that may come out in all.
        max_ratio: most bytes that may come out per byte of the archive.
        max_members: most files and folders.

    Raises:
        UserError: naming the member, for an absolute path, `..`, a link, a device, a name used
            twice or too many bytes; for a damaged archive, a folder in use, or a full disk.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"{folder}: expected no such folder or an empty one to unpack {archive} to; "
                "move it away"
            )
        allowed = min(max_bytes, max(_HARMLESS, int(max_ratio * archive.stat().st_size)))
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        try:
            part.chmod(0o755)
            unpacking = _Unpacking(archive, part, allowed, max_members)
            if zipfile.is_zipfile(archive):
                _extract_zip(unpacking)
            else:
                _extract_tar(unpacking)
            # One flush for all files, so that a power cut cannot leave a final name over holes.
            os.sync()
            part.replace(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{archive}: cannot be unpacked to {folder} ({error.strerror or error}); nothing was "
            "left there, correct that and try again"
        ) from error


class _Unpacking:
    """Write members below a folder, and refuse what leaves it or exceeds the allowance."""

    def __init__(self, archive: Path, root: Path, allowed: int, max_members: int) -> None:
        self.archive = archive
        self.root = root
        self.left = self.allowed = allowed
        self.members_left = self.max_members = max_members

    def refuse(self, member: str, reason: str) -> UserError:
        return UserError(
            f"{self.archive}: member {member!r} {reason}; nothing was unpacked, get the archive "
            "from a source you trust"
        )

    def damaged(self, error: Exception) -> UserError:
        return UserError(
            f"{self.archive}: expected a complete zip, tar or tar.gz archive, got a damaged one or "
            f"another format ({error or type(error).__name__}); fetch it again"
        )

    def count(self, member: str, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise self.refuse(
                member,
                f"takes the unpacked size over {self.allowed:,} bytes, the most allowed for an "
                f"archive of {self.archive.stat().st_size:,}",
            )

    def path(self, member: str) -> Path:
        """Return where a member goes; its parent folders are made."""
        self.members_left -= 1
        if self.members_left < 0:
            raise self.refuse(member, f"is one more than the {self.max_members:,} allowed")
        # A backslash separates folders on some systems, so it is judged as a separator on all.
        name = PurePosixPath(member.replace("\\", "/"))
        if name.is_absolute() or PureWindowsPath(member).drive:
            raise self.refuse(member, "has an absolute path")
        if ".." in name.parts:
            raise self.refuse(member, "has '..' in its path")
        path = self.root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise self.refuse(member, "lies below another member that is a file") from None
        return path

    def folder(self, member: str) -> None:
        try:
            self.path(member).mkdir(exist_ok=True)
        except FileExistsError:
            raise self.refuse(member, "has the name of another member") from None

    def file(self, member: str, content: _Stream) -> None:
        try:
            # Exclusive: nothing that an earlier member made can be written through.
            out = self.path(member).open("xb")
        except (FileExistsError, IsADirectoryError):
            raise self.refuse(member, "has the name of another member") from None
        with out:
            shutil.copyfileobj(content, out, _CHUNK)


class _Counted(io.BufferedIOBase):
    """Count what is read from a stream against the allowance, and remember where its zeros begin.

    Args:
        stream: decompressed bytes.
        unpacking: holds the allowance.
        member: whom to name when it is used up.
    """

    def __init__(self, stream: _Stream, unpacking: _Unpacking, member: str) -> None:
        self.stream = stream
        self.unpacking = unpacking
        self.member = member
        self.size = 0
        self.zeros_from = 0

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = self.stream.read(-1 if size is None else size)
        self.unpacking.count(self.member, len(chunk))
        if solid := len(chunk.rstrip(b"\0")):
            self.zeros_from = self.size + solid
        self.size += len(chunk)
        return chunk

    def check_end(self, end: int) -> None:
        """Refuse a tar whose members end at `end` without the empty block that must follow.

        The tar reader takes any damaged header for the end; then files would be missing silently.
        """
        while self.read(_CHUNK):
            pass
        if self.zeros_from > end or self.size < end + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"no end mark after {self.member!r}")


def _extract_zip(unpacking: _Unpacking) -> None:
    try:
        with zipfile.ZipFile(unpacking.archive) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind == stat.S_IFLNK:
                    raise unpacking.refuse(info.filename, "is a link")
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise unpacking.refuse(info.filename, "is a device or another special file")
                if info.is_dir():
                    unpacking.folder(info.filename)
                else:
                    with archive.open(info) as content:
                        unpacking.file(info.filename, _Counted(content, unpacking, info.filename))
    except (UserError, OSError):
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise unpacking.damaged(error) from error


def _extract_tar(unpacking: _Unpacking) -> None:
    with unpacking.archive.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if packed else open)(unpacking.archive, "rb") as stream:
            counted = _Counted(stream, unpacking, "(first header)")
            # A stream: nothing is read but through the counter, headers included.
            with tarfile.open(fileobj=counted, mode="r|", bufsize=_CHUNK) as archive:
                for info in archive:
                    counted.member = info.name
                    if info.issym() or info.islnk():
                        raise unpacking.refuse(info.name, "is a link")
                    if info.isdir():
                        unpacking.folder(info.name)
                    elif info.isreg() and not info.issparse():
                        content = archive.extractfile(info)
                        assert content is not None
                        unpacking.file(info.name, content)
                    else:
                        raise unpacking.refuse(info.name, "is a device or another special file")
                end = archive.offset
            counted.check_end(end)
    except gzip.BadGzipFile as error:
        raise unpacking.damaged(error) from error
    except (UserError, OSError):
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise unpacking.damaged(error) from error
