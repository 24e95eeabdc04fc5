import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import util
from pathlib import Path

import pytest
from dvc.utils.hydra import compose_and_dump
from omegaconf import OmegaConf
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conf.compose import composition

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["benchmarks", "common", "inverse_problems", "lrs_flow", "lu_net", "monotone_flow"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def files() -> list[Path]:
    """List what a commit would hold; in a downloaded archive there is nothing else."""
    if not (ROOT / ".git").exists():
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def locked() -> dict[str, Requirement]:
    lines = [line.rstrip("\\") for line in LOCK.splitlines() if re.match(r"\w", line)]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Hold what `make` needs, and no environment."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_every_locked_requirement_is_exact_and_has_a_hash():
    blocks = re.split(r"^(?=\w)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) > 100
    for block in blocks:
        assert re.match(r"[\w.-]+==[\w.]+ ", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_lock_names_no_index_and_no_place_on_a_disk():
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-[a-zA-Z]|--(?!hash=))", LOCK, flags=re.MULTILINE)
    assert not re.search(r"(^|\s)/\w", LOCK)


def test_the_lock_satisfies_every_range_of_the_project():
    pins = locked()
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["bench"], *extras["dev"]]:
        wanted = Requirement(line)
        [pin] = pins[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(pin.version), line


def test_torch_and_torchvision_are_pinned_to_a_pair_that_belongs_together():
    pins = locked()
    assert str(pins["torch"].specifier) == "==2.15.0"
    assert str(pins["torchvision"].specifier) == "==0.29.2"


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_of_the_distribution_can_be_found(name):
    assert util.find_spec(name) is not None
    assert (ROOT / name / "__init__.py").is_file()


def test_the_distribution_holds_these_packages_and_no_other():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert sorted(patterns) == [f"{name}*" for name in PACKAGES]


def test_make_alone_lists_the_targets():
    output = make().stdout
    for target in ("help", "repro", "test", "paper", "lint", "tensorboard", "bench", "clean"):
        assert re.search(rf"^make {target} +\w", output, flags=re.MULTILINE), target


def test_an_old_python_ends_in_one_sentence(bare):
    old = bare / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit\nexit 1\n')
    old.chmod(0o755)
    done = make("setup", f"PYTHON={old}", "NEED_GB=0", cwd=bare)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed but" in done.stderr
    assert "is Python 3.9.2" in done.stderr
    assert not (bare / ".venv").exists()


def test_a_disk_too_full_ends_in_one_sentence(bare):
    done = make("setup", f"PYTHON={sys.executable}", "NEED_GB=100000000", cwd=bare)
    assert done.returncode != 0
    assert "the packages need 100000000 GB of free disk and" in done.stderr
    assert not (bare / ".venv").exists()


def test_a_downloaded_archive_ends_in_one_sentence(bare):
    (bare / ".git").rmdir()
    done = make("repro", cwd=bare)
    assert done.returncode != 0
    assert "this folder is not a git checkout" in done.stderr
    assert not (bare / ".venv").exists()


def test_the_committed_parameters_are_the_composition_of_the_fast_profile():
    composed = composition()
    assert OmegaConf.create(composed).profile == "fast"
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == composed


def test_the_profile_decides_which_file_of_a_paper_is_taken(tmp_path):
    conf = shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (conf / "lu_net").mkdir(exist_ok=True)
    for profile in ("fast", "paper"):
        section = conf / "lu_net" / f"{profile}.yaml"
        section.write_text(f"steps: {len(profile)}\nechoed: ${{profile}}\n")
        parameters = OmegaConf.create(composition(f"profile={profile}", conf=conf))
        assert parameters.profile == profile
        assert parameters.lu_net == {"steps": len(profile), "echoed": profile}


def test_dvc_composes_the_same_text(tmp_path):
    conf = shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (conf / "lu_net").mkdir(exist_ok=True)
    (conf / "lu_net" / "paper.yaml").write_text("rate: 1e-3\nechoed: ${profile}\n")
    arguments = (str(conf), None, "config", str(conf / "plugins"), ["profile=paper"])
    compose_and_dump(tmp_path / "params.yaml", *arguments)
    assert (tmp_path / "params.yaml").read_text() == composition("profile=paper", conf=conf)


def test_an_unknown_profile_ends_in_one_sentence():
    command = [sys.executable, "-m", "conf.compose", "profile=papr"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: conf/: ")
    assert "papr" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_file_names_a_place_on_somebodys_machine():
    place = re.compile(rb"(?<![\w.])/(home|root|Users|work|opt|mnt)/\w|[A-Z]:\\\\?Users")
    text = {".cfg", ".css", ".csv", ".html", ".j2", ".json", ".lock", ".md", ".py", ".svg", ".toml"}
    text |= {"", ".tex", ".yaml", ".yml"}
    named = [path for path in files() if path.suffix in text and place.search(path.read_bytes())]
    assert [str(path.relative_to(ROOT)) for path in named if path != Path(__file__)] == []


def test_no_python_file_is_longer_than_four_hundred_lines():
    sizes = {path: len(path.read_bytes().splitlines()) for path in files() if path.suffix == ".py"}
    assert {str(path): size for path, size in sizes.items() if size > 400} == {}


def test_no_file_is_a_drawer_for_everything():
    drawers = {"helpers.py", "util.py", "utils.py"}
    assert [path for path in files() if path.name in drawers] == []
