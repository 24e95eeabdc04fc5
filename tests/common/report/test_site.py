"""The page: whole, self-contained, the same again."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from common.errors import UserError
from common.report.exhibits import duration
from common.report.ledger import VERDICTS, read_ledger
from common.report.site import PAPERS, build, headline
from tests.common.report.demo import CELLS, ROOT, write_results

VOID = {"meta", "col", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Collect tags with their attributes, check that they nest, and keep the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("demo") / "results"
    write_results(results)
    build("fast", results, ROOT)
    return results


@pytest.fixture
def results(demo: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(demo, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="module")
def source(demo: Path) -> str:
    return (demo / "fast" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_the_page_needs_nothing_but_itself(source: str, page: Page):
    assert not re.search(r"""(src|href|srcset|url|import)\s*[=(]?\s*["']?\s*(https?:)?//""", source)
    assert not page.all("script")
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_the_page_shows_every_cell_with_both_numbers_verdict_and_reason(demo: Path, source: str):
    rows = re.findall(r'<tr role="row" class="is-.*?</tr>', source, flags=re.DOTALL)
    ledger = read_ledger(demo / "fast" / "cells.csv")
    assert len(rows) == len(ledger) == 16
    for text, cell, line in zip(rows, CELLS, ledger, strict=True):
        shown = Page(text).text
        for part in (*cell.place[1:], line.published, line.verdict, line.reason, cell.protocol):
            assert part in shown
        if cell.like_for_like and line.measured_standard:
            assert line.published_standard in shown
    assert "1.7683 ± 0.0042" in rows[6]
    assert "diverged" in rows[7]


def test_tables_figures_and_costs_are_on_the_page(page: Page, source: str):
    for text in ("2,461,760", "1.7763 ± 0.0042", "published_init", "12 min 34 s", "612 MiB"):
        assert text in page.text
    assert "100% of the test images & 30 noise draws each." in page.text
    assert len(page.all("img")) == 3
    assert all(image["alt"] and int(image["width"]) > 0 for image in page.all("img"))
    assert "make repro" in page.text
    assert html.escape("—") in source


def test_a_reader_with_a_screen_reader_gets_headers_language_and_labels(page: Page):
    assert page.all("html")[0]["lang"] == "en"
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    named = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(named) == len(ids)
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.all("th"))
    for attrs in page.all("table"):
        assert attrs["aria-labelledby"] in ids
    for link in page.all("a"):
        target = link["href"] or ""
        assert target[1:] in ids if target.startswith("#") else target


def test_papers_without_results_are_listed_as_not_run_yet(page: Page):
    for title in list(PAPERS.values())[1:]:
        assert f"{title} (not run yet)" in page.text
    assert page.text.count("Not run yet in this profile.") == len(PAPERS) - 1


def test_a_paper_without_results_links_to_its_readme_and_later_appears(results: Path):
    root = results.parent
    (root / "lrs_flow").mkdir()
    (root / "lrs_flow" / "README.md").write_text("# What it is\n", encoding="utf-8")
    text = build("fast", results, root).read_text(encoding="utf-8")
    assert 'href="../../lrs_flow/README.md"' in text
    shutil.copytree(results / "fast" / "lu_net", results / "fast" / "lrs_flow")
    text = build("fast", results, root).read_text(encoding="utf-8")
    assert "Linear rational spline flows (not run yet)" not in text
    assert "Of 32 published cells" in text
    assert len(read_ledger(results / "fast" / "cells.csv")) == 32


def test_the_page_shows_the_papers_that_are_named_in_their_fixed_order(results: Path):
    shutil.copytree(results / "fast" / "lu_net", results / "fast" / "lrs_flow")
    both = build("fast", results, ROOT, ["lrs_flow", "lu_net"]).read_text(encoding="utf-8")
    first, second = (both.index(f'class="paper" id="{name}"') for name in ("lu_net", "lrs_flow"))
    assert first < second
    # What is not named is not read, whatever state it is in.
    (results / "fast" / "lrs_flow" / "tables" / "index.json").write_text("[", encoding="utf-8")
    one = build("fast", results, ROOT, ["lu_net"]).read_text(encoding="utf-8")
    assert 'class="todo" id="lrs_flow"' in one
    assert len(read_ledger(results / "fast" / "cells.csv")) == 16
    with pytest.raises(UserError, match=r"monotone_flow/cells\.csv: no such ledger"):
        build("fast", results, ROOT, ["lu_net", "monotone_flow"])


def test_a_second_run_writes_the_same_bytes(results: Path):
    before = {name: (results / "fast" / name).read_bytes() for name in ("index.html", "cells.csv")}
    build("fast", results, ROOT)
    for name, content in before.items():
        assert (results / "fast" / name).read_bytes() == content


def test_words_from_files_cannot_become_markup(results: Path):
    path = results / "fast" / "lu_net" / "tables" / "likelihood.csv"
    path.write_text(
        path.read_text(encoding="utf-8").replace("RealNVP", "<script>x</script>"), encoding="utf-8"
    )
    text = build("fast", results, ROOT).read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_profile_that_nobody_ran_is_refused(results: Path):
    with pytest.raises(UserError, match="run the profile 'paper' first"):
        build("paper", results, ROOT)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("tables/likelihood.csv", None, r"likelihood\.csv: listed in .* but not there"),
        ("tables/likelihood.csv", "method\n", "no column 'planes'"),
        ("tables/index.json", "[", "not readable as JSON"),
        ("tables/index.json", '[{"name": "a"}]', "entry 1: key 'title' is missing"),
        ("figures/samples.png", None, r"samples\.png: listed in .* but not there"),
        ("figures/latents.svg", "<svg/>", "neither a PNG nor an SVG"),
        ("cells.csv", "paper\n", "expected the columns"),
        ("digits/lu_net/cost.json", "3", "expected an object, got int"),
    ],
)
def test_results_that_are_not_whole_are_refused_and_the_last_page_stays(
    results: Path, file: str, text: str | None, sentence: str
):
    before = (results / "fast" / "index.html").read_bytes()
    path = results / "fast" / "lu_net" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        build("fast", results, ROOT)
    assert (results / "fast" / "index.html").read_bytes() == before


def test_an_unknown_cost_is_a_dash(results: Path):
    path = results / "fast" / "lu_net" / "digits" / "lu_net" / "cost.json"
    path.write_text(json.dumps({"device": "GPU", "peak_allocated_bytes": 2**30}), encoding="utf-8")
    text = Page(build("fast", results, ROOT).read_text(encoding="utf-8")).text
    assert "1,024 MiB (GPU)" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (200, "3 min 20 s"), (7512, "2 h 05 min")]
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((3, 1, 0, 0), "Of 4 published cells, 4 were tested in full: 3 reproduced, 1 not."),
        (
            (0, 0, 1, 2),
            "Of 3 published cells, none were tested in full; 1 was run scaled down and 2 were not "
            "run, which counts neither way.",
        ),
        ((1, 0, 0, 0), "Of 1 published cell, 1 was tested in full: 1 reproduced, 0 not."),
        ((0, 0, 0, 0), "No published cell has been looked at yet."),
    ],
)
def test_the_headline_counts_only_what_was_tested(counts, text):
    assert headline(dict(zip(VERDICTS, counts, strict=True))) == text


@pytest.mark.slow
def test_the_command_writes_the_page_or_says_in_one_line_why_not(results: Path):
    def run(profile: str) -> subprocess.CompletedProcess[str]:
        options = ["--profile", profile, "--results", str(results), "--root", str(ROOT)]
        return subprocess.run(
            [sys.executable, "-m", "common.report.site", *options],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
        )

    done = run("fast")
    assert done.returncode == 0
    assert done.stdout.strip() == str(results / "fast" / "index.html")
    failed = run("paper")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
