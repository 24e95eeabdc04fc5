"""Say in one sentence what is wrong with a user's input, data or state."""

import functools
import sys
import threading
from collections.abc import Callable


class UserError(Exception):
    """Report a problem the user can act on: what came, what was expected, what to do."""


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Run a command's `main`; print its error as one line on stderr and exit with status 2.

    Errors are a `UserError` and what the system refuses (disk full, no permission); a bug keeps its
    traceback.
    """

    @functools.wraps(main)
    def wrapped(*args: object, **kwargs: object) -> None:
        threading.excepthook, before = _report, threading.excepthook
        try:
            main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except OSError as error:
            name = error.filename
            where = name.decode(errors="replace") if isinstance(name, bytes) else name or "a file"
            print(
                f"error: {where}: {error.strerror or error}; what was saved before is kept, "
                "correct that and start the same command again",
                file=sys.stderr,
            )
            raise SystemExit(2) from None
        finally:
            threading.excepthook = before

    return wrapped


def _report(args: threading.ExceptHookArgs) -> None:
    """Print what ended a thread, unless the system refused: TensorBoard raises that again."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)
