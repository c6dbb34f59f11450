"""The tutorial is done once; other pages begin where it ends."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, run


@pytest.fixture(scope="session")
def after_tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the tutorial was done: `my.en`, `my.de`, `test.en`, `test.de`, `runs/first`."""
    folder = tmp_path_factory.mktemp("tutorial")
    run(ROOT / "docs/tutorial.md", folder)
    return folder
