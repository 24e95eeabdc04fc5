"""Name a run by all that its result depends on: configuration, data and code."""

import ast
import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What trained weights cannot depend on: an edit there must not throw a training away.
PASSIVE = (
    "tests/",
    "benchmarks/",
    "common/report/",
    "common/datasets/",  # the digest of the data stands for it
    "common/errors.py",
    "common/training/config.py",  # the resolved configuration stands for it
    "common/training/lock.py",
    "common/training/progress.py",
    "common/training/provenance.py",
)


def fingerprint(
    config: object,
    data_digest: str,
    modules: Iterable[ModuleType] | None = None,
    root: Path = ROOT,
) -> str:
    """Return 16 hex digits that change with the configuration, the data or the code.

    Call it after all imports, at the start of the training command.

    Args:
        config: resolved configuration, a dataclass or a mapping of plain values.
        data_digest: digest of the training data.
        modules: modules whose code counts; by default all that are imported. Of these, only
            files under `root` count, by what they do: comments, docstrings and layout do not.
        root: repository root.
    """
    content = {
        "config": _plain(config),
        "data": data_digest,
        "code": code(sys.modules.values() if modules is None else modules, root),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code(modules: Iterable[ModuleType], root: Path = ROOT) -> dict[str, str]:
    """Return the digest of the code of each module file under `root`, by relative path.

    A module run as `python -m lu_net.train` is called `__main__`; by its path it counts the same.
    """
    root = root.resolve()
    digests = {}
    for module in list(modules):
        file = getattr(module, "__file__", None)
        # Some modules of torch are made at run time and carry a made-up relative file name.
        if not file or not file.endswith(".py") or not Path(file).is_absolute():
            continue
        path = Path(file).resolve()
        if not path.is_relative_to(root):
            continue
        name = path.relative_to(root).as_posix()
        # A virtual environment inside the repository is not part of it.
        if name.startswith((".", *PASSIVE)) or "site-packages/" in name:
            continue
        digests[name] = _digest(path)
    return dict(sorted(digests.items()))


def _digest(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return `value` as JSON holds it, so that a dataclass and its dict count the same."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a configuration holds plain values, got a {type(value).__name__}")
