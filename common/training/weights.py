"""Export trained weights as a plain `torch.save` file; equal content gives equal bytes."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from common.training import atomic


def write_weights(
    path: Path, state_dict: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write weights atomically; equal content gives equal bytes, whatever device it came from.

    The file is read by `torch.load(path, weights_only=True)` as
    `{"state_dict": ..., "metadata": ...}`.

    Args:
        path: file to replace; its folder must exist.
        state_dict: named tensors of any shape.
        metadata: values that JSON can hold.

    Raises:
        UserError: the file could not be written; the old one is untouched.
    """
    # Sorted names and own, contiguous storages; the detour through JSON also frees the pickle
    # from the identity of equal strings, which would otherwise show in its memo.
    tensors = {
        name: state_dict[name].detach().to("cpu", copy=True).contiguous()
        for name in sorted(state_dict)
    }
    facts = json.loads(json.dumps(metadata, sort_keys=True))
    buffer = io.BytesIO()
    torch.save({"state_dict": tensors, "metadata": facts}, buffer)
    atomic.write_bytes(path, buffer.getbuffer())


def read_weights(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_weights` wrote: named tensors and metadata.

    Raises:
        UserError: the file is missing, damaged, or holds anything but tensors and plain values.
    """
    try:
        # The archive's own CRCs are verified here, since torch.load does not look at them.
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise zipfile.BadZipFile(f"checksum of {bad} is wrong")
    except FileNotFoundError:
        raise UserError(f"{path}: no weights there; run the training stage first") from None
    except Exception as error:  # zipfile raises many kinds on damaged input
        raise UserError(
            f"{path}: damaged weights ({error}); delete the file, train again"
        ) from None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a crafted file may make the reader raise anything
        raise UserError(
            f"{path}: holds something other than tensors and plain values, it was not executed; "
            "delete the file and find out where it came from"
        ) from error
    if not isinstance(content, dict) or set(content) != {"state_dict", "metadata"}:
        raise UserError(f"{path}: not a file of exported weights; delete it and train again")
    return content["state_dict"], content["metadata"]
