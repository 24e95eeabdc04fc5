"""C++ files compiled at their first use, for this machine's processor.

A file has a plain C interface. It is built by the machine's C++ compiler, if there is one, and kept
in the user's cache; nothing is installed.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread")


def load(source: Path, folder: str, slower: str) -> ctypes.CDLL | None:
    """Return a compiled file, built if need be, or None where that is impossible.

    The reason is said on stderr then, so keep what is returned.

    Args:
        source: the C++ file.
        folder: in the user's cache.
        slower: what happens without it, as a clause.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or shutil.which(compiler) is None:
        print(f"no C++ compiler: {slower}", file=sys.stderr)
        return None
    path = place(source, folder, compiler)
    try:
        if not path.exists():
            build(source, path, compiler)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{slower}: {error}", file=sys.stderr)
        return None


def digest(source: Path) -> str:
    """Return the SHA-256 of a file, which no import shows."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def place(source: Path, folder: str, compiler: str) -> Path:
    """Name what is built by all that it depends on: source, compiler and processor."""
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = next(line for line in processor.splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        processor = platform.processor()
    text = source.read_text(encoding="utf-8") + compiler + " ".join(FLAGS) + processor
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Path(cache_home) / folder / f"{source.stem}-{name}.so"


def build(source: Path, path: Path, compiler: str) -> None:
    """Compile a file.

    Raises:
        OSError: the place cannot be written.
        subprocess.SubprocessError: the compiler fails, or takes more than two minutes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        command = [compiler, *FLAGS, str(source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        os.replace(made, path)  # whoever builds at the same time finds a whole file
