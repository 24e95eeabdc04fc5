"""Take one file out of a downloaded archive."""

import gzip
import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from common.datasets.source import Packed, Unfit


def unpack(archive: Path, packed: Packed, out: IO[bytes]) -> None:
    """Write the member that `packed` names to `out`; nothing else of the archive is unpacked.

    Args:
        archive: the downloaded file.
        packed: names the member, and the archive's MD5 where its publisher states one.
        out: where to.

    Raises:
        Unfit: the archive is damaged, another one, or lacks the member.
        OSError: `out` cannot be written.
    """
    if packed.md5:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
        if digest != packed.md5:
            raise Unfit(f"has MD5 {digest}, expected {packed.md5}")
    try:
        if not packed.member:
            with gzip.open(archive) as content:
                shutil.copyfileobj(content, out, 1 << 20)
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped, zipped.open(packed.member) as content:
                shutil.copyfileobj(content, out, 1 << 20)
        else:
            _untar(archive, packed.member, out)
    except (Unfit, gzip.BadGzipFile) as error:
        raise Unfit(str(error)) from error
    except OSError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise Unfit(f"is not a readable archive with {packed.member}") from error


def _untar(archive: Path, member: str, out: IO[bytes]) -> None:
    with tarfile.open(archive, "r|*") as tar:
        for info in tar:
            if info.isreg() and info.name.removeprefix("./") == member:
                content = tar.extractfile(info)
                assert content is not None
                shutil.copyfileobj(content, out, 1 << 20)
                return
    raise Unfit(f"lacks {member}")
