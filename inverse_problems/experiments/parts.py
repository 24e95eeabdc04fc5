"""Keep what is finished of an experiment, part by part."""

import time
from collections.abc import Callable

from torch import Tensor

from common.training import checkpoint
from common.training.run import Run

Arrays = dict[str, Tensor]


class Parts:
    """Compute the parts of an experiment once, also over several calls of its command.

    Args:
        run: where the parts are kept.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.folder = run.folder / "parts"
        self.seconds = 0.0  # of all parts so far, also those of earlier calls

    def get(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return a part, computed now unless it is there; say which one is done."""
        path = self.folder / f"{name}.pt"
        saved = checkpoint.load(path, self.run.fingerprint, "cpu")
        if saved is not None:
            self.seconds += float(saved["seconds"])
            return dict(saved["arrays"])
        begin = time.monotonic()
        arrays = {key: value.detach().cpu() for key, value in compute().items()}
        self.folder.mkdir(exist_ok=True)
        seconds = time.monotonic() - begin
        self.seconds += seconds
        checkpoint.save(path, {"arrays": arrays, "seconds": seconds}, self.run.fingerprint)
        print(f"{self.run.name}: {name}", flush=True)
        return arrays
