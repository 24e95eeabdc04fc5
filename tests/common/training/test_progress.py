"""A bar on a terminal, plain lines elsewhere."""

import io

from common.training.progress import Progress


class Terminal(io.StringIO):
    """Pretend to be a terminal, which a test run seldom has."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_are_few():
    stream = io.StringIO()
    progress = Progress(3, 1000, "digits", stream=stream)
    for step in progress:
        progress.note(nll=step / 2)
    assert stream.getvalue() == "digits: step 1000/1000, nll 499.5\n"


def test_lines_come_now_and_then():
    stream = io.StringIO()
    assert list(Progress(0, 3, "digits", seconds=0, stream=stream)) == [0, 1, 2]
    assert stream.getvalue().splitlines()[0] == "digits: step 1/3"
    assert len(stream.getvalue().splitlines()) == 3


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    progress = Progress(5, 10, "digits", stream=stream)
    for _ in progress:
        progress.note(nll=1.5)
    assert "digits" in stream.getvalue()
    assert "10/10" in stream.getvalue()


def test_nothing_left_is_silent():
    stream = io.StringIO()
    assert list(Progress(10, 10, "digits", stream=stream)) == []
    assert stream.getvalue() == ""
