"""A run's name changes with what its result depends on, and with nothing else."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from common.training.fingerprint import code, fingerprint

SOURCE = '''"""Say what this is."""

import math


class Area:
    """Measure."""

    def circle(self, r: float) -> float:
        """Return the area."""
        return math.pi * r**2
'''
CONFIG = {"lr": 0.1, "sizes": [1, 2], "sub": {"steps": 3}}


def module(root: Path, name: str, text: str) -> ModuleType:
    path = root / (name.replace(".", "/") + ".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    return importlib.util.module_from_spec(spec)


def of(root: Path, text: str) -> str:
    return fingerprint(CONFIG, "data", [module(root, "common.area", text)], root)


def test_it_is_sixteen_hex_digits(tmp_path):
    assert re.fullmatch("[0-9a-f]{16}", of(tmp_path, SOURCE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Say what this is.", "Say it better."),
        ('"""Measure."""', '"""Measure something.\n\n    At length.\n    """'),
        ('        """Return the area."""\n', ""),
        ("r**2", "r ** 2  # a comment"),
        ("\n\nclass", "\n\n# Another comment.\n\n\n\nclass"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path, old, new):
    assert old in SOURCE
    assert of(tmp_path, SOURCE) == of(tmp_path, SOURCE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [("r**2", "r**3"), ("math.pi", "3.0"), ("circle", "disc"), ("import", "import os,")],
)
def test_code_counts(tmp_path, old, new):
    assert of(tmp_path, SOURCE) != of(tmp_path, SOURCE.replace(old, new))


def test_configuration_and_data_count():
    names = {
        fingerprint(CONFIG, "data", []),
        fingerprint({**CONFIG, "lr": 0.2}, "data", []),
        fingerprint({**CONFIG, "new": None}, "data", []),
        fingerprint({**CONFIG, "sizes": [2, 1]}, "data", []),
        fingerprint(CONFIG, "other data", []),
    }
    assert len(names) == 5


def test_the_order_of_keys_and_imports_does_not_count(tmp_path):
    modules = [module(tmp_path, f"common.m{i}", f"x = {i}\n") for i in range(4)]
    backwards = dict(reversed(CONFIG.items()))
    assert fingerprint(CONFIG, "d", modules, tmp_path) == fingerprint(
        backwards, "d", modules[::-1], tmp_path
    )


def test_a_dataclass_counts_as_its_dict():
    @dataclass(frozen=True)
    class Config:
        lr: float
        sizes: tuple[int, ...]

    assert fingerprint(Config(0.1, (1, 2)), "d", []) == fingerprint(
        {"lr": 0.1, "sizes": [1, 2]}, "d", []
    )


def test_an_object_in_the_configuration_is_refused():
    with pytest.raises(TypeError, match="plain values, got a object"):
        fingerprint({"x": object()}, "d", [])


def test_only_code_that_results_depend_on_counts(tmp_path):
    paths = ["lu_net/model.py", "common/a.py", "common/report/site.py", "tests/test_a.py"]
    paths += ["common/training/progress.py", "benchmarks/case.py"]
    paths += [".venv/lib/b.py", "venv/lib/site-packages/c.py"]
    modules = []
    for path in paths:
        module = ModuleType(path)
        module.__file__ = str(tmp_path / path)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
        modules.append(module)
    modules += [sys, pytest, ModuleType("made at run time")]
    assert list(code(modules, tmp_path)) == ["common/a.py", "lu_net/model.py"]


def test_a_module_run_as_main_counts_under_its_own_name(tmp_path):
    package = tmp_path / "paper"
    package.mkdir()
    (package / "train.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom common.training.fingerprint import code\n"
        "print(*code(sys.modules.values(), Path(sys.argv[1])))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, *command, str(tmp_path)],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": f"{Path(__file__).parents[3]}:{tmp_path}"},
        ).stdout.strip()
        for command in (["-m", "paper.train"], ["-c", "import paper.train"])
    }
    assert outputs == {"paper/train.py"}


def test_the_imported_modules_of_this_repository_are_the_default():
    assert "common/training/fingerprint.py" in code(sys.modules.values())
    assert fingerprint(CONFIG, "d") != fingerprint(CONFIG, "d", [])
