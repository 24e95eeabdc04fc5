"""How a training ended, as it recorded that."""

import json
from pathlib import Path
from typing import Any

from common.errors import UserError


def read_status(folder: Path) -> dict[str, Any]:
    """Return the content of status.json.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / "status.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; train this model first") from None
    except (TypeError, ValueError):  # no mapping, or no JSON
        raise UserError(f"{path}: damaged; train this model again") from None
