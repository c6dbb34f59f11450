"""Links inside the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, page_name, prose

LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.M)
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:onehop|tests|docs|benchmarks|recipes|\.ci)/[\w./-]*[\w/](?:::\w+)?")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as mkdocs makes them."""
    headings = [re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in HEADING.findall(prose(page))]
    return {re.sub(r"[\s-]+", "-", heading) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.is_file(), f"{page_name(page)}: {link}"
        # the headings of the Python reference are made from docstrings; mkdocs checks those links
        if anchor and "reference/api" not in place:
            assert anchor in anchors(target), f"{page_name(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_file_and_test_that_is_named_exists(page: Path):
    for code in CODE.findall(prose(page)):
        if PATH.fullmatch(code):
            file, _, function = code.partition("::")
            assert (ROOT / file).exists(), f"{page_name(page)}: {code}"
            if function:
                assert f"def {function}(" in (ROOT / file).read_text("utf-8"), f"{page_name(page)}: {code}"


def test_pages_link_to_nothing_that_only_a_network_has():
    """Pictures, scripts and fonts must come with the pages."""
    for page in PAGES:
        assert not re.search(r"!\[[^]]*\]\(http|<(?:img|script|link)\b", page.read_text("utf-8")), page_name(page)
