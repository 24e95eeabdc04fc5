"""The folder a trainer works in: `runs/<fingerprint>/`."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.training import atomic
from common.training.lock import exclusive

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True)
class Run:
    """Know where the files of one training lie.

    Args:
        folder: `runs/<fingerprint>`.
        fingerprint: what the result depends on.
        name: readable name, shown by TensorBoard: `<paper>-<profile>-<dataset>-<method>`.
    """

    folder: Path
    fingerprint: str
    name: str

    @property
    def checkpoint(self) -> Path:
        """Name the file for `checkpoint.save` and `checkpoint.load`."""
        return self.folder / "checkpoint.pt"

    @property
    def status(self) -> dict[str, Any] | None:
        """Return what `finish` recorded, or None while the training is not over."""
        path = self.folder / "status.json"
        try:
            status = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise UserError(f"{path}: not valid JSON; delete it to finish the run again") from None
        return dict(status)

    @property
    def finished(self) -> bool:
        """Say whether there is nothing left to train, also because the training diverged."""
        return self.status is not None

    def finish(self, status: str = "finished", **facts: Any) -> None:
        """Record the end of the training: `finished` or `diverged`, with plain facts."""
        self.write_json("status.json", {"status": status, **facts})

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write `content` to the file `name` of the run, atomically, keys sorted."""
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        atomic.write_bytes(self.folder / name, text.encode())

    def tensorboard(self, purge_step: int | None = None) -> "SummaryWriter":
        """Open the run's TensorBoard log.

        Args:
            purge_step: step of the resume; what was logged from there on before is hidden.
        """
        # Imported late: it is slow to load, and an export or an evaluation does not need it.
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder / self.name), purge_step=purge_step)


@contextmanager
def open_run(runs: Path, fingerprint: str, config: Mapping[str, Any], name: str) -> Iterator[Run]:
    """Create or reopen `runs/<fingerprint>/` and hold its lock while the block runs.

    Args:
        runs: the scratch folder.
        fingerprint: see `common.training.fingerprint`.
        config: resolved configuration, written to `config.json` for the reader.
        name: `<paper>-<profile>-<dataset>-<method>`.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    folder = runs / fingerprint
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created ({error.strerror})") from None
    with exclusive(folder / "lock"):
        run = Run(folder, fingerprint, name)
        run.write_json("config.json", config)
        yield run


def export(run: Run, out: Path, files: Mapping[str, str]) -> None:
    """Copy files of a run to a results folder, each atomically.

    Args:
        run: the run.
        out: results folder, created if need be.
        files: name in the run -> name in `out`.

    Raises:
        UserError: a file of the run is missing, or the results folder cannot be written.
    """
    for source in files:
        if not (run.folder / source).is_file():
            raise UserError(f"{run.folder / source}: missing; delete {run.folder} and train again")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be created ({error.strerror})") from None
    for source, target in files.items():
        atomic.write_bytes(out / target, (run.folder / source).read_bytes())
