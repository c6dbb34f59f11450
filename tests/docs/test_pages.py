"""Every block of every page does what the page says, from top to bottom."""

import shutil
import tomllib
from pathlib import Path

import pytest

from onehop.train import make_recipe
from tests.docs.pages import PAGES, ROOT, Block, blocks, page_name, run

ALL = [block for page in PAGES for block in blocks(page)]
RUN = ("python", "sh")
TUTORIAL = ROOT / "docs/tutorial.md"
README = ROOT / "README.md"
OTHERS = [
    page for page in PAGES if page not in (TUTORIAL, README) and any(block.language in RUN for block in blocks(page))
]


def test_the_tutorial_does_what_it_says(after_tutorial: Path):
    assert (after_tutorial / "runs/first/model/onehop.json").is_file()


@pytest.mark.parametrize("page", OTHERS, ids=page_name)
def test_a_page_does_what_it_says_after_the_tutorial(page: Path, after_tutorial: Path, tmp_path: Path):
    shutil.copytree(after_tutorial, tmp_path, dirs_exist_ok=True)
    run(page, tmp_path)


def test_the_readme_does_what_it_says_with_files_of_ones_own(after_tutorial: Path, tmp_path: Path):
    for name, size in (("my.en", 20), ("my.de", 20), ("new.en", 1), ("test.en", 3), ("test.de", 3)):
        lines = (after_tutorial / f"my{Path(name).suffix}").read_text("utf-8").splitlines(keepends=True)
        (tmp_path / name).write_text("".join(lines[:size]), encoding="utf-8")
    run(README, tmp_path)
    assert len((tmp_path / "new.de").read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "toml"], ids=str)
def test_what_is_shown_as_toml_is_a_recipe(block: Block):
    tables = tomllib.loads(block.text)
    assert make_recipe({"data": {"pairs": ["pairs.tsv"]}, **tables})


def test_no_block_is_of_a_kind_that_nobody_runs_or_reads():
    assert {str(block): block.language for block in ALL if block.language not in (*RUN, "toml", "text")} == {}


def test_an_output_stands_behind_what_prints_it():
    for page in PAGES:
        found = list(blocks(page))
        for before, block in zip([None, *found], found, strict=False):
            assert not block.is_output or (before and before.language in RUN), str(block)


def test_the_pages_were_found():
    assert {README, TUTORIAL} < set(PAGES)
    assert len(OTHERS) >= 8
    assert sum(block.language in RUN for block in ALL) > sum(
        block.language == "text" and not block.is_output for block in ALL
    )
