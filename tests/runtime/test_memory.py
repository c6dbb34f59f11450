"""What a model's weights take while it is loaded, made fast and used, as Linux tells it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import onehop
from onehop.data.tatoeba import pairs
from onehop.tasks import TextLimits, TranslationSettings, Translator, load_package, new_package, save_package
from onehop.text import train_bpe
from tests.tasks.test_package import contents

SHAPE = {"dim": 512, "ffn_dim": 2048, "num_heads": 8, "num_encoder_layers": 3, "num_decoder_layers": 3}
PROGRAM = """
import json, sys, torch, onehop
from pathlib import Path
torch.set_num_threads(1)
def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name))
import onehop.tasks
found = [held("VmRSS")]
model = onehop.load(sys.argv[1])
found.append(held("VmRSS"))
fast = model.fast("int8")
found.append(held("VmHWM"))
fast.translate(["A man sleeps."])
found.append(held("VmHWM"))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package of a model of random weights: 100 MB of them."""
    texts = [text for pair in pairs()[:2000] for text in (pair.source, pair.target)]
    tokenizer = train_bpe(texts, 2000)
    text = TextLimits(max_length=64, sentences=True)
    settings = TranslationSettings(architecture="transformer", model=SHAPE, text=text)
    torch.manual_seed(0)
    translator = Translator.build(settings, tokenizer, tokenizer)
    folder = tmp_path_factory.mktemp("large") / "model"
    save_package(new_package(translator, ["A man sleeps."], ""), folder)
    return folder


def test_float32_weights_take_memory_only_while_they_are_used(large: Path):
    size = (large / "model.safetensors").stat().st_size >> 20
    onehop.load(large)  # does the golden lines, once
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(large)], check=True, capture_output=True, text=True)
    before, loaded, fast, used = json.loads(done.stdout)
    assert size > 80
    assert loaded - before < 0.6 * size, "loading reads them"
    assert fast - before < 1.3 * size, "they are held beside the packed ones"
    assert used - before < 1.5 * size  # both would be 1.8 and more


def test_weights_that_the_golden_lines_needed_are_let_go_again(large: Path, tmp_path: Path):
    size = (large / "model.safetensors").stat().st_size >> 20
    environment = {**os.environ, "ONEHOP_CACHE": str(tmp_path)}  # where nothing was done before
    command = [sys.executable, "-c", PROGRAM, str(large)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    before, loaded, _, used = json.loads(done.stdout)
    assert list((tmp_path / "replayed").iterdir()), "the golden lines were not done"
    assert loaded - before < 0.7 * size
    assert used - before < 1.7 * size


def test_weights_that_were_changed_stay_so_when_the_model_is_made_fast(large: Path):
    model, other = onehop.load(large), onehop.load(large)
    changed = model.model.decoder[0].feedforward.up.weight
    changed.data.mul_(3.0)
    wanted, before = changed.clone(), model.translate(["A man sleeps."])[0].text
    fast = model.fast()
    assert torch.equal(changed, wanted)
    assert fast.translate(["A man sleeps."])[0].text == model.translate(["A man sleeps."])[0].text == before
    assert not torch.equal(changed, other.model.decoder[0].feedforward.up.weight)


def test_a_package_is_written_over_while_its_weights_are_mapped(large: Path, tmp_path: Path):
    save_package(load_package(large), tmp_path / "model")
    held = load_package(tmp_path / "model")
    with torch.no_grad():
        held.task.model.decoder[0].feedforward.up.weight[0, 0] += 1.0
    save_package(held, tmp_path / "model")
    assert contents(tmp_path / "model").keys() == contents(large).keys()
    found = onehop.load(tmp_path / "model", allow_drift=True).model.decoder[0].feedforward.up.weight
    assert torch.equal(found, held.task.model.decoder[0].feedforward.up.weight)
