import pytest

from common.errors import UserError
from inverse_problems.memory import summary
from inverse_problems.report.draw_memory import memory
from tests.inverse_problems.test_memory import example


def metrics(**changed):
    rows = example(**changed)
    return {
        "rows": rows,
        "summary": summary(rows),
        "images": {"batch": 3, "size": 4, "channels": 5},
        "levels": 2,
        "device": "a machine",
        "bound": 1e-3,
    }


def test_the_caption_gives_the_numbers_that_were_measured(tmp_path):
    caption = memory(metrics(growth=1.05), tmp_path)
    assert (tmp_path / "memory.png").stat().st_size > 10_000
    assert (tmp_path / caption.file).exists()
    for words in ("3 images of 4 x 4", "4 times plainly", "1.05 times with inverses", "a machine"):
        assert words in caption.caption
    assert "not at all with inverses" in memory(metrics(), tmp_path).caption


def test_the_same_metrics_give_the_same_bytes(tmp_path):
    memory(metrics(), tmp_path / "a")
    memory(metrics(), tmp_path / "b")
    for name in ("memory.png", "memory.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_other_metrics_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected 'rows' in metrics\.json"):
        memory({"psnr": 3}, tmp_path)
