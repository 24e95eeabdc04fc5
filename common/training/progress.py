"""Show how far a training is: a bar on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Iterator
from typing import NoReturn, TextIO

from tqdm import tqdm


class Progress:
    """Iterate over the steps from `start` to `stop` and show them.

    Args:
        start: first step, not 0 after a resume.
        stop: number of steps of the whole training.
        label: what is being trained.
        seconds: time between two lines where there is no terminal.
        stream: where to show it, standard error by default.
    """

    def __init__(
        self,
        start: int,
        stop: int,
        label: str,
        seconds: float = 30.0,
        stream: TextIO | None = None,
    ) -> None:
        self.start, self.stop, self.label, self.seconds = start, stop, label, seconds
        self.stream = sys.stderr if stream is None else stream
        self._note = ""
        self._bar: tqdm[NoReturn] | None = None

    def note(self, **values: float) -> None:
        """Set the numbers shown beside the step."""
        self._note = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)

    def __iter__(self) -> Iterator[int]:
        """Yield the steps."""
        steps = range(self.start, self.stop)
        if self.stream.isatty():
            bar: tqdm[NoReturn]
            with tqdm(
                total=self.stop, initial=self.start, desc=self.label, file=self.stream
            ) as bar:
                self._bar = bar
                for step in steps:
                    yield step
                    bar.update()
            self._bar = None
            return
        shown = time.monotonic()
        for step in steps:
            yield step
            if time.monotonic() - shown >= self.seconds or step == self.stop - 1:
                shown = time.monotonic()
                note = f", {self._note}" if self._note else ""
                print(f"{self.label}: step {step + 1}/{self.stop}{note}", file=self.stream)
                self.stream.flush()
