import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from common.datasets.packed import unpack
from common.datasets.source import Packed, Unfit

CONTENT = bytes(range(256)) * 300


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other", b"other")
        archive.writestr("data/a", CONTENT)
    return folder / "x"


def tarred(folder: Path) -> Path:
    with tarfile.open(folder / "x", "w:gz") as archive:
        for name, content in (("./other", b"other"), ("./data/a", CONTENT)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return folder / "x"


def gzipped(folder: Path) -> Path:
    (folder / "x").write_bytes(gzip.compress(CONTENT))
    return folder / "x"


FORMS = [(zipped, "data/a"), (tarred, "data/a"), (gzipped, "")]


@pytest.mark.parametrize(("make", "member"), FORMS)
def test_the_named_file_comes_out_whole(make, member, tmp_path):
    out = io.BytesIO()
    unpack(make(tmp_path), Packed("", member), out)
    assert out.getvalue() == CONTENT


@pytest.mark.parametrize(("make", "member"), FORMS)
def test_a_cut_archive_is_refused(make, member, tmp_path):
    path = make(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Unfit):
        unpack(path, Packed("", member), io.BytesIO())


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_without_the_file_is_refused(make, tmp_path):
    with pytest.raises(Unfit, match="data/b"):
        unpack(make(tmp_path), Packed("", "data/b"), io.BytesIO())


@pytest.mark.parametrize("member", ["data/a", ""])
def test_a_web_page_is_refused(member, tmp_path):
    (tmp_path / "x").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(Unfit):
        unpack(tmp_path / "x", Packed("", member), io.BytesIO())


def test_a_link_with_the_name_of_the_file_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "x", "w:gz") as archive:
        info = tarfile.TarInfo("data/a")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    with pytest.raises(Unfit, match="lacks data/a"):
        unpack(tmp_path / "x", Packed("", "data/a"), io.BytesIO())
