"""How a training ended, as it left it."""

import json
from pathlib import Path
from typing import Any

from common.errors import UserError


def read_status(folder: Path, trained: str = "model") -> dict[str, Any]:
    """Return the content of a folder's status.json.

    Args:
        folder: where a training left its weights.
        trained: what it trained, as errors call it.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / "status.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; train this {trained} first") from None
    except (TypeError, ValueError):  # no mapping, or no JSON
        raise UserError(f"{path}: damaged; train this {trained} again") from None
