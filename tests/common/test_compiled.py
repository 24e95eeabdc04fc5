"""Compiling C++ files at their first use."""

import os
import shutil
import threading

import pytest

from common import compiled

# The last argument is the file to write.
WRITE_SLOWLY = ('for out; do :; done; printf half > "$out"', "sleep 0.2", 'printf half >> "$out"')

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler"
)


@pytest.fixture
def source(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "seven.cpp"
    path.write_text('extern "C" int seven() { return 7; }', encoding="utf-8")
    return path


def script(folder, *lines):
    path = folder / "compiler"
    path.write_text("\n".join(("#!/bin/sh", *lines)), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@needs_compiler
def test_a_file_is_compiled_once_and_found_by_the_next_process(monkeypatch, tmp_path, source):
    assert compiled.load(source, "folder", "slower").seven() == 7
    (built,) = (tmp_path / "cache" / "folder").iterdir()
    monkeypatch.setattr(compiled, "build", None)
    assert compiled.load(source, "folder", "slower").seven() == 7
    assert list(built.parent.iterdir()) == [built]


@pytest.mark.parametrize("compiler", [None, "no-such-compiler"])
def test_without_a_compiler_there_is_none_and_that_is_said(
    monkeypatch, tmp_path, capsys, source, compiler
):
    monkeypatch.setenv("PATH", str(tmp_path))
    if compiler is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", compiler)
    assert compiled.load(source, "folder", "all goes slower") is None
    assert capsys.readouterr().err == "no C++ compiler: all goes slower\n"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("lines", [('echo "error: no" >&2', "exit 1"), WRITE_SLOWLY])
def test_a_compiler_that_fails_or_writes_nonsense_is_said(
    monkeypatch, tmp_path, capsys, source, lines
):
    monkeypatch.setenv("CXX", script(tmp_path, *lines))
    assert compiled.load(source, "folder", "all goes slower") is None
    said = capsys.readouterr().err
    assert said.startswith("all goes slower: ")
    assert said.count("\n") == 1


def test_two_that_build_at_once_never_show_half_a_file(tmp_path, source):
    # Threads, each with a compiler process and a folder of its own, as two processes would have.
    path, compiler = tmp_path / "cache" / "seven.so", script(tmp_path, *WRITE_SLOWLY)
    builders = [
        threading.Thread(target=compiled.build, args=(source, path, compiler)) for _ in range(2)
    ]
    for builder in builders:
        builder.start()
    while any(builder.is_alive() for builder in builders):
        if path.exists():
            assert path.read_bytes() == b"halfhalf"
    for builder in builders:
        builder.join()
    assert path.read_bytes() == b"halfhalf"
    assert list(path.parent.iterdir()) == [path]


def test_another_source_compiler_or_flag_is_another_file(monkeypatch, tmp_path, source):
    places = {compiled.place(source, "folder", name) for name in ("g++", "clang++")}
    monkeypatch.setattr(compiled, "FLAGS", ("-O0",))
    places.add(compiled.place(source, "folder", "g++"))
    source.write_text("another", encoding="utf-8")
    places.add(compiled.place(source, "folder", "g++"))
    assert len(places) == 4
    assert {place.parent for place in places} == {tmp_path / "cache" / "folder"}
