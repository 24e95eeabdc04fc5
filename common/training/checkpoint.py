"""Save and load training state so that no crash, full disk or foreign file can spoil a run.

A file is one line of JSON (format, fingerprint, length and SHA-256 of what follows) and then
the bytes of `torch.save`. The checksum covers the fingerprint too, hence damage is never
mistaken for another configuration.
"""

import hashlib
import io
import json
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from common.training import atomic

FORMAT = 1
# A header is about 180 bytes; without a limit a damaged file would be read as one long line.
HEADER_LIMIT = 4096
PLAIN = (int, float, str, bool, type(None), torch.Size, torch.dtype)


class Damaged(Exception):
    """Report content that is not what was written."""


def save(path: Path, state: Mapping[str, Any], fingerprint: str) -> None:
    """Write `state` to `path` atomically and keep the file that was there as `<name>.previous`.

    Args:
        path: checkpoint file; its folder must exist.
        state: tensors and plain values (numbers, strings, None) in dicts, lists and tuples.
        fingerprint: configuration, code and data the state belongs to.

    Raises:
        UserError: the file could not be written; the old one is untouched.
        TypeError: `state` holds something that `load` would refuse.
    """
    content = dict(state)
    _refuse_foreign(content, "state")
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    header = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "length": len(payload),
        "sha256": _digest(FORMAT, fingerprint, payload),
    }
    line = json.dumps(header).encode() + b"\n"
    atomic.write_bytes(path, line, payload, keep=previous(path))


def load(path: Path, fingerprint: str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Read the newest sound checkpoint, or None if there is none yet.

    A damaged file is reported in one warning and `<name>.previous` is taken instead. Nothing is
    unpickled before its checksum is verified, and then only tensors and plain values.

    Args:
        path: checkpoint file as given to `save`.
        fingerprint: configuration, code and data of the caller.
        device: where the tensors go.

    Raises:
        UserError: every file is damaged, belongs to another fingerprint, or holds code.
    """
    damage = []
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            payload = _verified(candidate, fingerprint)
        except Damaged as error:
            damage.append(f"{candidate} ({error})")
            continue
        if damage:
            warnings.warn(f"{damage[0]} is damaged: resuming from {candidate.name}", stacklevel=2)
        return _unpickle(io.BytesIO(payload), candidate, device)
    if damage:
        raise UserError(
            f"no sound checkpoint: damaged are {' and '.join(damage)}; "
            "delete these files to train again from the start"
        )
    return None


def previous(path: Path) -> Path:
    """Name the file that holds the checkpoint before the newest one."""
    return path.with_name(path.name + ".previous")


def _digest(version: int, fingerprint: str, payload: bytes | memoryview) -> str:
    digest = hashlib.sha256(f"{version} {fingerprint}\n".encode())
    digest.update(payload)
    return digest.hexdigest()


def _verified(path: Path, fingerprint: str) -> bytes:
    """Return the payload of `path` once checksum and fingerprint are right."""
    with open(path, "rb") as file:
        line = file.readline(HEADER_LIMIT)
        payload = file.read()
    try:
        header = json.loads(line)
        version, owner = header["format"], header["fingerprint"]
        length, sha256 = header["length"], header["sha256"]
    except (ValueError, KeyError, TypeError):
        raise Damaged("its header cannot be read") from None
    if length != len(payload):
        raise Damaged(f"{len(payload)} bytes after the header, expected {length}")
    if sha256 != _digest(version, owner, payload):
        raise Damaged("its SHA-256 is wrong")
    if version != FORMAT:
        raise UserError(f"{path}: has format {version}, expected {FORMAT}; delete it to train anew")
    if owner != fingerprint:
        raise UserError(
            f"{path}: was written by another configuration, code or data set "
            f"({owner}, expected {fingerprint}); delete it to train anew"
        )
    return payload


def _unpickle(file: io.BytesIO, path: Path, device: torch.device | str) -> dict[str, Any]:
    try:
        # weights_only refuses every global that is not a tensor or a plain container.
        state = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # a crafted file may make the reader raise anything
        raise UserError(
            f"{path}: holds something other than tensors and plain values, it was not executed; "
            "delete the file and find out where it came from"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: expected a dict, got {type(state).__name__}; delete the file")
    return state


def _refuse_foreign(value: Any, where: str) -> None:
    """Raise here rather than at the resume hours later."""
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _refuse_foreign(key, f"a key of {where}")
            _refuse_foreign(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for i, item in enumerate(value):
            _refuse_foreign(item, f"{where}[{i}]")
    elif not isinstance(value, Tensor) and type(value) not in PLAIN:
        raise TypeError(f"checkpoint: {where} is a {type(value).__name__}, expected a plain value")
