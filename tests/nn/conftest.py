"""What runs in kernels while a model learns is tested beside what stands in their place."""

from functools import partial

import pytest

from onehop.native import load
from onehop.nn.kernels import kernels


@pytest.fixture(params=["kernels", "torch"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the kernels, and as where no compiler is."""
    if request.param == "torch":
        monkeypatch.setenv("ONEHOP_KERNELS", "0")
        assert kernels() is None
    else:
        assert kernels() is not None
    return request.param


@pytest.fixture(params=[(), ("-DLANES=8",), ("-DLANES=4",)], ids=["own", "8 lanes", "4 lanes"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Run a test with the kernels of this processor's vectors, and of shorter ones."""
    monkeypatch.setattr("onehop.nn.kernels.load", partial(load, options=request.param))
    assert kernels() is not None
    return request.param
