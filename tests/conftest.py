"""Every shape annotation of the package is checked while the tests run."""

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(["onehop.nn", "onehop.models", "onehop.decode", "onehop.data"], "beartype.beartype")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Give every test the same random numbers, whichever ran before."""
    torch.manual_seed(0)
