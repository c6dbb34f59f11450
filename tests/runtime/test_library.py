"""Kernels are compiled once, kept in the cache, and done without where they cannot be made."""

import os
import stat
from pathlib import Path

import pytest
import torch

import onehop
from onehop import native
from onehop.models.registry import build
from onehop.runtime import Kernels, accelerate, kernels


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every test begin with an empty cache."""
    monkeypatch.setenv("ONEHOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_loaded", native._loaded.__wrapped__)
    return tmp_path / "cache"


def model() -> torch.nn.Module:
    return build("transformer", {"preset": "transformer-tiny"}, 50)


def test_a_second_process_finds_what_was_compiled(fresh: Path):
    told: list[str] = []
    assert isinstance(kernels(told.append), Kernels)
    assert len(told) == 1
    assert isinstance(kernels(told.append), Kernels)
    assert len(told) == 1
    [made] = (fresh / "kernels").glob("*.so")
    assert made.suffix == ".so"


def test_a_library_that_somebody_else_may_have_written_is_not_loaded(fresh: Path):
    told: list[str] = []
    kernels()
    [made] = (fresh / "kernels").glob("*.so")
    made.unlink()  # and not written to: this process has it in use
    made.write_bytes(b"something else")
    made.chmod(0o777)
    assert isinstance(kernels(told.append), Kernels)
    assert len(told) == 1
    assert not made.stat().st_mode & stat.S_IWOTH


def test_only_a_file_that_nobody_else_could_have_put_there_is_trusted(tmp_path: Path):
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    file, link = folder / "a.so", folder / "b.so"
    file.write_bytes(b"")
    link.symlink_to(file)
    for mode, trusted in ((0o600, True), (0o755, True), (0o620, False), (0o602, False)):
        file.chmod(mode)
        assert native._is_ours(file) == trusted
    file.chmod(0o600)
    assert not native._is_ours(link)
    assert not native._is_ours(folder / "none.so")
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        assert not native._is_ours(file)


@pytest.mark.parametrize(
    ("compiler", "reason"), [("/nowhere/cc", "/nowhere/cc cannot make the kernels"), ("false", "cannot make")]
)
def test_without_a_compiler_that_works_a_model_runs_as_it_is_and_says_why(
    compiler: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CC", compiler)
    plain = model()
    fast, speed = accelerate(plain, "int8")
    assert fast is plain
    assert (speed.precision, speed.share) == ("float32", 0.0)
    assert reason in str(speed)


def test_where_no_compiler_is_named_or_found_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    assert accelerate(model())[1].reason == "no kernels: no C compiler"


def test_kernels_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, trained: Path):
    plain = onehop.load(trained)
    monkeypatch.setenv("ONEHOP_KERNELS", "0")
    fast = plain.fast()
    assert fast.speed is not None
    assert "ONEHOP_KERNELS=0" in fast.speed.reason
    assert [t.text for t in fast.translate(["One."])] == [t.text for t in plain.translate(["One."])]


def test_an_unknown_precision_is_refused():
    with pytest.raises(onehop.OnehopError, match="float32, bfloat16 or int8"):
        accelerate(model(), "int4")
