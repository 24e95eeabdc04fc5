import errno
import hashlib
import io
import os
import re
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.datasets import fetch as fetching
from common.datasets import sources
from common.datasets.fetch import fetch, main
from common.datasets.raw import DataMissing
from common.datasets.source import Packed, RawFile, Source, Unfit
from common.errors import UserError

CONTENTS = {"a.gz": bytes(range(256)) * 40, "b.gz": b"the second file"}
REAL_MIRROR = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def toy(site, register):
    """A registered set of two files that the site serves well."""
    for name, content in CONTENTS.items():
        site.serve(f"/{name}", content)
    return register("toy", CONTENTS, f"{site.address}/")


def fill_mirror(folder: Path, contents=CONTENTS) -> Path:
    (folder / "toy").mkdir(parents=True)
    for name, content in contents.items():
        (folder / "toy" / name).write_bytes(content)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def refusal(raw: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        fetch("toy", raw, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_good_download_lies_under_its_final_name_alone(toy, tmp_path):
    fetch("toy", tmp_path)
    assert names(tmp_path / "toy") == ["a.gz", "b.gz"]
    for name, content in CONTENTS.items():
        assert (tmp_path / "toy" / name).read_bytes() == content


def test_what_already_lies_there_is_not_fetched_again(toy, site, tmp_path):
    fetch("toy", tmp_path)
    before = (tmp_path / "toy" / "a.gz").stat()
    fetch("toy", tmp_path)
    assert site.asked == {"/a.gz": 1, "/b.gz": 1}
    assert (tmp_path / "toy" / "a.gz").stat() == before


def test_a_damaged_file_that_already_lies_there_is_replaced(toy, tmp_path):
    fetch("toy", tmp_path)
    (tmp_path / "toy" / "a.gz").write_bytes(b"half a download")
    fetch("toy", tmp_path)
    assert (tmp_path / "toy" / "a.gz").read_bytes() == CONTENTS["a.gz"]


def test_a_cut_download_is_refused_after_three_attempts(toy, site, tmp_path):
    site.serve("/b.gz", b"the sec", length=len(CONTENTS["b.gz"]))
    sentence = refusal(tmp_path)
    assert "toy/b.gz: expected 15 bytes with SHA-256" in sentence
    assert f"{site.address}/b.gz was cut off during the download" in sentence
    assert site.asked["/b.gz"] == 3
    # The file before it is finished and stays; of the cut one nothing is left.
    assert names(tmp_path / "toy") == ["a.gz"]


def test_a_download_that_says_it_is_complete_but_is_short_is_refused(toy, site, tmp_path):
    site.serve("/b.gz", b"the sec")
    assert "has 7 bytes (cut short?)" in refusal(tmp_path)
    assert names(tmp_path / "toy") == ["a.gz"]


def test_a_flaky_server_is_asked_again(toy, site, tmp_path, monkeypatch):
    site.serve("/b.gz", b"", status=503)

    def repair(seconds):
        site.serve("/b.gz", CONTENTS["b.gz"])

    monkeypatch.setattr(fetching.time, "sleep", repair)
    fetch("toy", tmp_path)
    assert site.asked["/b.gz"] == 2
    assert names(tmp_path / "toy") == ["a.gz", "b.gz"]


def test_wrong_bytes_of_the_right_size_are_refused_with_both_checksums(toy, site, tmp_path):
    site.serve("/a.gz", bytes(len(CONTENTS["a.gz"])))
    sentence = refusal(tmp_path)
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", sentence))) == 2
    assert "put the file there yourself, or set DATA_MIRROR" in sentence
    assert names(tmp_path / "toy") == []


@pytest.mark.parametrize("size", [0, 20_000])
def test_a_web_page_in_place_of_data_is_called_one(toy, site, tmp_path, size):
    site.serve("/a.gz", b"\n<!DOCTYPE html><html><body>Sign in</body></html>" + b" " * size)
    assert "looks like a web page, not data" in refusal(tmp_path)
    assert names(tmp_path / "toy") == []


def test_a_missing_page_is_reported_with_its_status_and_asked_for_once(toy, site, tmp_path):
    del site.pages["/a.gz"]
    assert f"{site.address}/a.gz answers with HTTP status 404" in refusal(tmp_path)
    assert site.asked["/a.gz"] == 1


def test_an_unreachable_address_says_how_to_do_without(site, register, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    register("toy", CONTENTS, f"http://127.0.0.1:{port}/")
    sentence = refusal(tmp_path)
    assert "cannot be reached" in sentence
    assert "set DATA_MIRROR to a folder that holds toy/a.gz" in sentence
    assert f"{tmp_path}/toy/a.gz" in sentence


def test_the_second_official_address_is_tried_when_the_first_fails(toy, site, tmp_path):
    files = tuple(replace(f, urls=(f"{site.address}/gone", *f.urls)) for f in toy.files)
    sources.SOURCES["toy"] = replace(toy, files=files)
    fetch("toy", tmp_path)
    assert site.asked == {"/gone": 2, "/a.gz": 1, "/b.gz": 1}


def test_a_mirror_is_used_before_the_address(toy, site, tmp_path):
    fetch("toy", tmp_path / "raw", fill_mirror(tmp_path / "mirror"))
    assert names(tmp_path / "raw" / "toy") == ["a.gz", "b.gz"]
    assert not site.asked


def test_the_environment_names_the_mirror(toy, site, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(fill_mirror(tmp_path / "mirror")))
    fetch("toy", tmp_path / "raw")
    assert not site.asked


def test_the_default_mirror_is_used_where_it_exists(toy, site, tmp_path, monkeypatch):
    monkeypatch.delenv("DATA_MIRROR")
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    fetch("toy", Path("before"))
    assert site.asked.total() == 2
    fill_mirror(tmp_path / "shared" / "data")
    fetch("toy", Path("after"))
    assert site.asked.total() == 2


def test_a_file_that_the_mirror_lacks_or_holds_damaged_comes_from_the_address(toy, site, tmp_path):
    mirror = fill_mirror(tmp_path / "mirror", {"a.gz": b"<html>"})
    fetch("toy", tmp_path / "raw", mirror)
    assert site.asked == {"/a.gz": 1, "/b.gz": 1}
    assert (tmp_path / "raw" / "toy" / "a.gz").read_bytes() == CONTENTS["a.gz"]


def test_every_origin_that_failed_is_named(toy, site, tmp_path):
    mirror = fill_mirror(tmp_path / "mirror", {"a.gz": b"short"})
    site.serve("/a.gz", b"<html>")
    (tmp_path / "raw" / "toy").mkdir(parents=True)
    (tmp_path / "raw" / "toy" / "a.gz").write_bytes(b"old")
    sentence = refusal(tmp_path / "raw", mirror=mirror)
    assert "the file there has 3 bytes (cut short?)" in sentence
    assert f"{mirror}/toy/a.gz has 5 bytes (cut short?)" in sentence
    assert f"{site.address}/a.gz looks like a web page, not data" in sentence


def test_a_mirror_with_a_pin_of_its_own_is_held_to_that(toy, site, tmp_path):
    other = sources.Pin(toy.files[1].pin.sha256, toy.files[1].pin.size)
    first = replace(toy.files[0], mirror_pin=other)
    sources.SOURCES["toy"] = replace(toy, files=(first,))
    mirror = fill_mirror(tmp_path / "mirror", {"a.gz": CONTENTS["b.gz"]})
    fetch("toy", tmp_path / "raw", mirror)
    fetch("toy", tmp_path / "raw")
    assert (tmp_path / "raw" / "toy" / "a.gz").read_bytes() == CONTENTS["b.gz"]
    assert not site.asked


def test_a_mirror_that_is_no_folder_is_refused(toy, tmp_path):
    assert "expected a folder, there is none" in refusal(tmp_path, mirror=tmp_path / "nowhere")


def test_a_full_disk_ends_in_one_sentence_and_keeps_what_is_finished(toy, tmp_path, monkeypatch):
    sync = os.fsync
    calls = []

    def fill_at_the_second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(fetching.os, "fsync", fill_at_the_second)
    sentence = refusal(tmp_path)
    assert "toy/b.gz: no space left on this disk" in sentence
    assert names(tmp_path / "toy") == ["a.gz"]
    fetch("toy", tmp_path)
    assert names(tmp_path / "toy") == ["a.gz", "b.gz"]


def test_a_raw_folder_that_is_a_file_is_refused(toy, tmp_path):
    (tmp_path / "raw").write_text("not a folder")
    assert "expected a folder, got a file on the way" in refusal(tmp_path / "raw")


def test_what_a_killed_fetch_left_is_overwritten(toy, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / ".a.gz.part").write_bytes(b"x" * 100_000)
    fetch("toy", tmp_path)
    assert names(tmp_path / "toy") == ["a.gz", "b.gz"]


@pytest.mark.parametrize(
    "name", ["digits", "patches", "mixture", "wine", "breast-cancer", "rings", "picture"]
)
def test_sets_without_files_are_written_alike_every_time(name, tmp_path):
    for folder in ("first", "second"):
        fetch(name, tmp_path / folder)
    first, second = (tmp_path / folder / name for folder in ("first", "second"))
    assert (
        names(first)
        == names(second)
        == sorted(f"{array.name}.npy" for array in sources.SOURCES[name].arrays)
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_damaged_array_is_written_anew(tmp_path):
    fetch("digits", tmp_path)
    path = tmp_path / "digits" / "images.npy"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"\x01")
    fetch("digits", tmp_path)
    assert path.read_bytes() == good


def test_embedded_arrays_that_differ_from_their_pin_are_refused(tmp_path, monkeypatch):
    def other():
        return {"images": np.zeros((1797, 8, 8), np.uint8), "labels": np.zeros(1797, np.uint8)}

    source = replace(sources.DIGITS, make=other)
    monkeypatch.setitem(sources.SOURCES, "digits", source)
    with pytest.raises(UserError, match=r"images\.npy: what scikit-learn gives holds an array"):
        fetch("digits", tmp_path)
    assert names(tmp_path / "digits") == []


def test_the_command_prints_one_line_and_exits_with_two(toy, site, tmp_path, capsys):
    del site.pages["/a.gz"]
    with pytest.raises(SystemExit) as caught:
        main(["toy", "--raw", str(tmp_path)])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {tmp_path}/toy/a.gz: expected")


def test_the_command_runs_as_a_module_without_torch():
    code = (
        "import sys, runpy; sys.argv = ['fetch', 'fashoin-mnist'];\n"
        "try: runpy.run_module('common.datasets.fetch', run_name='__main__')\n"
        "finally: print([m for m in 'torch pooch dvc sklearn pandas PIL'.split() "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == "[]\n"
    assert done.stderr == (
        "error: unknown data set 'fashoin-mnist' (did you mean 'fashion-mnist'?); expected one of "
        f"{', '.join(sources.SOURCES)}\n"
    )


def read_numbers(path: Path) -> None:
    if not path.read_bytes().startswith(b"numbers"):
        raise Unfit("holds no numbers")


def unpinned(name: str, *urls: str | Packed) -> RawFile:
    return RawFile(name, None, urls, f"toy/{name}", read=read_numbers, content="numbers")


def add(monkeypatch, *forms: tuple[RawFile, ...]) -> None:
    source = Source("toy", "files", files=forms[0], instead=forms[1:])
    monkeypatch.setitem(sources.SOURCES, "toy", source)


def zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def test_a_file_without_checksum_is_held_to_its_content(site, monkeypatch, tmp_path):
    add(monkeypatch, (unpinned("n.txt", f"{site.address}/n.txt"),))
    site.serve("/n.txt", b"numbers 1 2 3")
    fetch("toy", tmp_path)
    fetch("toy", tmp_path)
    assert site.asked == {"/n.txt": 1}
    (tmp_path / "toy" / "n.txt").write_bytes(b"letters")
    site.serve("/n.txt", b"<html>Sign in</html>")
    sentence = refusal(tmp_path)
    assert "expected numbers, but the file there holds no numbers" in sentence
    assert f"{site.address}/n.txt looks like a web page, not data" in sentence


def test_files_are_taken_out_of_one_archive_that_is_downloaded_once(site, monkeypatch, tmp_path):
    content = zipped({"data/a": b"numbers a", "data/b": b"numbers b", "other": b"x"})
    site.serve("/data.zip", content)
    packed = [
        Packed(f"{site.address}/data.zip", f"data/{k}", hashlib.md5(content).hexdigest())
        for k in "ab"
    ]
    add(monkeypatch, (unpinned("a", packed[0]), unpinned("b", packed[1])))
    fetch("toy", tmp_path)
    assert site.asked == {"/data.zip": 1}
    assert names(tmp_path / "toy") == ["a", "b"]
    assert (tmp_path / "toy" / "b").read_bytes() == b"numbers b"


def test_an_archive_with_another_checksum_than_stated_is_not_opened(site, monkeypatch, tmp_path):
    site.serve("/data.zip", zipped({"a": b"numbers"}))
    add(monkeypatch, (unpinned("a", Packed(f"{site.address}/data.zip", "a", "0" * 32)),))
    assert f"expected {'0' * 32}" in refusal(tmp_path)
    assert names(tmp_path / "toy") == []


def test_the_form_at_hand_goes_before_a_download(site, monkeypatch, tmp_path):
    site.serve("/a", b"numbers")
    add(monkeypatch, (unpinned("a", f"{site.address}/a"),), (unpinned("b"), unpinned("c")))
    mirror = fill_mirror(tmp_path / "mirror", {"b": b"numbers b", "c": b"numbers c"})
    fetch("toy", tmp_path / "raw", mirror)
    assert names(tmp_path / "raw" / "toy") == ["b", "c"]
    assert not site.asked
    fetch("toy", tmp_path / "elsewhere")
    assert names(tmp_path / "elsewhere" / "toy") == ["a"]


def test_every_form_that_cannot_be_had_is_named_in_one_sentence(site, monkeypatch, tmp_path):
    add(monkeypatch, (unpinned("a", f"{site.address}/a"),), (unpinned("b"),))
    sentence = refusal(tmp_path)
    assert f"for a expected numbers, but {site.address}/a answers with HTTP status 404" in sentence
    assert "for b expected numbers, but no address holds it" in sentence
    assert "a folder that holds toy/a or toy/b" in sentence


def test_data_that_cannot_be_had_are_told_from_other_errors(toy, site, tmp_path):
    del site.pages["/a.gz"]
    with pytest.raises(DataMissing):
        fetch("toy", tmp_path)


def test_optional_data_that_cannot_be_had_are_no_error_and_may_come_later(
    toy, site, tmp_path, capsys
):
    page = site.pages.pop("/b.gz")
    main(["toy", "--optional", "--raw", str(tmp_path)])
    assert names(tmp_path / "toy") == ["a.gz", "missing.txt"]
    assert (tmp_path / "toy" / "missing.txt").read_text() == "toy: raw data not available\n"
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"not available: {tmp_path}/toy/b.gz: expected 15 bytes")
    site.pages["/b.gz"] = page
    main(["toy", "--optional", "--raw", str(tmp_path)])
    assert names(tmp_path / "toy") == ["a.gz", "b.gz"]


def test_every_file_has_a_pin_or_a_reader():
    for source in sources.SOURCES.values():
        for form in source.forms:
            for file in form:
                assert file.pins or (file.read is not None and file.content)
                assert all(len(pin.sha256) == 64 for pin in file.pins)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MIRROR.is_dir(), reason="no mirror beside the repository")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files_of_the_mirror_have_the_pinned_bytes(name, tmp_path):
    fetch(name, tmp_path, REAL_MIRROR)
    assert len(names(tmp_path / name)) == 4
