"""Every shape annotation is checked while the tests of layers, models and search run: the others meet the same code."""

import os
from pathlib import Path

import hypothesis
import jaxtyping
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


CHECKED = {"nn", "models", "decode", "laws"}
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def shapes(request: pytest.FixtureRequest) -> None:
    """Check shapes where layers are what is tested; elsewhere the checks would be half of the time."""
    folder = request.path.relative_to(HERE).parts[0]
    jaxtyping.config.update("jaxtyping_disable", folder not in CHECKED)
