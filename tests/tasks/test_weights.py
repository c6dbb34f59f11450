import json
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import onehop
from onehop.errors import ModelError
from onehop.tasks import convert, load_package, save_package
from onehop.tasks.golden import KIND
from onehop.tasks.weights import Undrawn, pack, quantise, unpack, weights
from tests.tasks.test_package import contents, edited

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MATRICES = st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=1))
PRECISIONS = ("float32", "float16", "int8")


@pytest.fixture(scope="module", params=PRECISIONS)
def stored(request, trained, tmp_path_factory):
    """Return a package folder of each precision."""
    folder = tmp_path_factory.mktemp(request.param) / "model"
    save_package(convert(load_package(trained), request.param), folder)
    return folder


@settings(max_examples=300, deadline=None)
@given(MATRICES)
def test_rounding_what_was_rounded_changes_no_bit(rows):
    once = quantise(torch.tensor(rows))
    whole, scale = once
    again = quantise(whole.float() * scale.unsqueeze(1))
    assert torch.equal(again[0], whole)
    assert torch.equal(again[1], scale)


@settings(max_examples=300, deadline=None)
@given(MATRICES)
def test_int8_is_off_by_half_a_step_at_most_and_a_step_is_a_127th_of_the_rows_largest(rows):
    matrix = torch.tensor(rows, dtype=torch.float32)
    whole, scale = quantise(matrix)
    largest = matrix.double().abs().amax(1)
    error = (whole.double() * scale.double().unsqueeze(1) - matrix.double()).abs().amax(1)
    assert (error <= largest / 127 * 0.502 + 2e-36).all()
    assert int(whole.min()) >= -127


def test_saving_what_was_loaded_gives_the_same_bytes_in_each_precision(stored, tmp_path):
    package = load_package(stored)
    assert package.precision == json.loads((stored / "onehop.json").read_text())["precision"]
    save_package(package, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(stored)
    save_package(convert(package, package.precision), tmp_path / "rounded")
    assert contents(tmp_path / "rounded") == contents(stored)


def test_golden_lines_are_those_of_the_weights_that_are_stored(stored):
    loaded = load_package(stored)
    assert len(loaded.golden) == 8
    assert KIND.lines(loaded.translator, [line["source"] for line in loaded.golden]) == loaded.golden


def test_loaded_weights_compute_in_float32_and_are_near_the_original(stored, trained):
    original, loaded = (weights(onehop.load(model).model) for model in (trained, stored))
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    for name, value in loaded.items():
        assert float((value - original[name]).abs().max()) <= float(original[name].abs().max()) / 250, name


def test_matrices_are_stored_as_int8_and_everything_else_as_it_was(trained):
    values = weights(onehop.load(trained).model)
    packed = pack(values, "int8")
    for name, value in values.items():
        assert packed[name].dtype == (torch.int8 if value.dim() == 2 else torch.float32)
    assert sum(v.nbytes for v in packed.values()) < sum(v.nbytes for v in values.values()) / 3
    assert unpack(packed).keys() == values.keys()


@pytest.mark.parametrize(
    ("value", "precision"), [(1e6, "float16"), (float("nan"), "int8"), (float("inf"), "float32"), (1e39, "int8")]
)
def test_a_weight_that_a_precision_cannot_hold_is_an_error(value, precision):
    with pytest.raises(ModelError, match=f"holds a weight of .*which {precision} cannot"):
        pack({"a": torch.tensor([[1.0, value]])}, precision)


def test_a_file_of_another_precision_than_the_manifest_says_is_refused(stored, tmp_path):
    copied = shutil.copytree(stored, tmp_path / "model")
    said = json.loads((stored / "onehop.json").read_text())["precision"]
    for other in set(PRECISIONS) - {said}:
        with pytest.raises(ModelError, match="weights and settings do not fit"):
            load_package(edited(copied, precision=other))


def test_an_unknown_precision_says_to_update(stored, tmp_path):
    copied = shutil.copytree(stored, tmp_path / "model")
    with pytest.raises(ModelError, match=r"(?s)precision 'int4'.*Update onehop"):
        load_package(edited(copied, precision="int4"))


def test_loading_draws_no_random_numbers(trained):
    before = torch.get_rng_state()
    onehop.load(trained)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_draws_a_model_still_has_its_tables_and_constants():
    settings = {"preset": "transformer-tiny"}
    drawn = onehop.models.build("transformer", settings, 50)
    with Undrawn():
        model = onehop.models.build("transformer", settings, 50)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), drawn.buffers(), strict=True))
    assert len(list(model.buffers())) > 0
    norms = [module.weight for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert norms
    assert all(bool((weight == 1).all()) for weight in norms)


def test_loading_a_package_does_not_load_torchs_compiler(trained):
    """It would take as long as all the rest: torch imports it for some calls on the device without memory."""
    code = "import sys, onehop; onehop.load(sys.argv[1]); print('torch._dynamo' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code, trained], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
