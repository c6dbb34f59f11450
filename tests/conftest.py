"""Every shape annotation of the package is checked while the tests run."""

import os

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(["onehop.nn", "onehop.models", "onehop.decode", "onehop.data"], "beartype.beartype")
hypothesis.settings.register_profile("onehop", deadline=None)  # timing never fails a test
hypothesis.settings.load_profile("onehop")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Leave the user's cache alone, in the processes that tests start too."""
    os.environ["ONEHOP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give every test the same random numbers, whichever ran before."""
    torch.manual_seed(0)
