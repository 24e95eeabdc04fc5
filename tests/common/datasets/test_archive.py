import errno
import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from common.datasets import archive as archives
from common.datasets.archive import extract
from common.errors import UserError

GOOD = {"set/a.txt": b"first", "set/deep/b.bin": bytes(range(256)) * 300, "c": b""}


def write_tar(path: Path, members: dict[str, bytes], *odd: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return path


def write_zip(path: Path, members: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, 0) << 16
            archive.writestr(info, content)
    return path


def write(path: Path, members: dict[str, bytes]) -> Path:
    return (write_zip if path.suffix == ".zip" else write_tar)(path, members)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refusal(archive: Path, **limits) -> str:
    """Return the sentence of a refusal, after which only the archive itself is there."""
    with pytest.raises(UserError) as caught:
        extract(archive, archive.parent / "out", **limits)
    assert [p.name for p in archive.parent.iterdir()] == [archive.name]
    sentence = str(caught.value)
    assert sentence.startswith(f"{archive}: ")
    assert "\n" not in sentence
    return sentence


FORMATS = ["a.zip", "a.tar", "a.tar.gz"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_good_archive_comes_out_whole(name, tmp_path):
    archive = write(tmp_path / name, GOOD)
    extract(archive, tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert files == GOOD
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_folders_and_a_leading_dot_are_fine(tmp_path):
    folders = [special(name, tarfile.DIRTYPE) for name in (".", "./d", "./d/e", "./d")]
    archive = write_tar(tmp_path / "a.tar", {"./d/x": b"1"}, *folders)
    (tmp_path / "out").mkdir()
    extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "d" / "x").read_bytes() == b"1"
    assert (tmp_path / "out" / "d" / "e").is_dir()


def test_modes_in_the_archive_are_ignored(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"x": b"1"}, {"x": stat.S_IFREG | 0o4777})
    extract(archive, tmp_path / "out")
    assert not (tmp_path / "out" / "x").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../evil", "has '..' in its path"),
        ("set/../../evil", "has '..' in its path"),
        ("..\\evil", "has '..' in its path"),
        ("/tmp/evil", "has an absolute path"),
        ("\\evil", "has an absolute path"),
        ("C:\\evil", "has an absolute path"),
        ("c", "has the name of another member"),
        ("set", "has the name of another member"),
        ("c/below", "lies below another member that is a file"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_leaves_its_place_is_refused_by_name(name, member, reason, tmp_path):
    archive = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(archive, "w") as file:
            for good, content in GOOD.items():
                file.writestr(good, content)
            file.writestr(member, b"evil")
    else:
        info = special(member, tarfile.REGTYPE)
        write_tar(archive, GOOD, info)
    assert f"member {member!r} {reason}; nothing was unpacked" in refusal(archive)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (special("link", tarfile.SYMTYPE, "set/a.txt"), "is a link"),
        (special("link", tarfile.LNKTYPE, "set/a.txt"), "is a link"),
        (special("disk", tarfile.BLKTYPE), "is a device or another special file"),
        (special("null", tarfile.CHRTYPE), "is a device or another special file"),
        (special("pipe", tarfile.FIFOTYPE), "is a device or another special file"),
        (special("holes", tarfile.GNUTYPE_SPARSE), "is a device or another special file"),
    ],
)
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_links_and_devices_in_a_tar_are_refused_by_name(name, info, reason, tmp_path):
    archive = write_tar(tmp_path / name, GOOD, info)
    assert f"member {info.name!r} {reason}" in refusal(archive)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is a device or another special file")],
)
def test_links_and_devices_in_a_zip_are_refused_by_name(kind, reason, tmp_path):
    archive = write_zip(tmp_path / "a.zip", {**GOOD, "odd": b"/etc"}, {"odd": kind | 0o777})
    assert f"member 'odd' {reason}" in refusal(archive)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_bomb_is_refused_by_its_ratio(name, tmp_path):
    archive = write(tmp_path / name, {"good": b"1", "bomb": bytes(8 << 20)})
    assert "member 'bomb' takes the unpacked size over 1,048,576 bytes" in refusal(archive)


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_over_the_total_is_refused(name, tmp_path):
    archive = write(tmp_path / name, {"a": os.urandom(400_000), "b": os.urandom(400_000)})
    # The tar reader takes a whole chunk at a time, so either member may be the one it stands at.
    sentence = refusal(archive, max_bytes=600_000)
    assert "member 'b' takes the unpacked size over 600,000 bytes" in sentence


def test_the_size_that_a_zip_states_is_not_believed(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"bomb": bytes(8 << 20)})
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, 10)
    archive.write_bytes(content)
    # The reader stops at the stated size, where the checksum does not fit.
    assert "damaged" in refusal(archive)


def test_a_bomb_inside_a_tar_header_is_refused(tmp_path):
    info = special("header", tarfile.XHDTYPE)
    info.size = 64 << 20
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert "takes the unpacked size over" in refusal(archive)


def test_too_many_members_are_refused(tmp_path):
    archive = write_tar(tmp_path / "a.tar", {str(i): b"" for i in range(11)})
    assert "member '10' is one more than the 10 allowed" in refusal(archive, max_members=10)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.5, 0.9])
def test_a_cut_archive_is_refused_wherever_it_ends(name, share, tmp_path):
    archive = write(tmp_path / name, {str(i): os.urandom(3_000) for i in range(8)})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    assert "expected a complete zip, tar or tar.gz archive" in refusal(archive)


def test_a_tar_cut_between_two_members_is_refused(tmp_path):
    archive = write_tar(tmp_path / "a.tar", {str(i): bytes(512) for i in range(4)})
    # Two members of one header block and one content block each.
    archive.write_bytes(archive.read_bytes()[:2_048])
    assert "no end mark after '1'" in refusal(archive)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_header_in_the_middle_does_not_lose_files_silently(name, tmp_path):
    # 2,560 bytes with its header: the third member of a tar begins at 5,120.
    archive = write(tmp_path / name, {str(i): os.urandom(2_048) for i in range(4)})
    content = bytearray(archive.read_bytes())
    if name == "a.tar.gz":
        content = bytearray(gzip.decompress(content))
    for i in range(5_120, 5_120 + 60):
        content[i] ^= 0xFF
    archive.write_bytes(gzip.compress(content) if name == "a.tar.gz" else content)
    refusal(archive)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x1f\x8bnot gzip", b"PK\x05\x06" + b"x" * 9])
def test_what_is_no_archive_is_refused(content, tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    assert "expected a complete zip, tar or tar.gz archive" in refusal(archive)


def test_a_missing_archive_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"a\.zip: cannot be unpacked .*No such file"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_folder_in_use_is_not_touched(tmp_path):
    archive = write_zip(tmp_path / "a.zip", GOOD)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(UserError, match="expected no such folder or an empty one"):
        extract(archive, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "a.zip", GOOD)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    assert "No space left on device" in refusal(archive)
