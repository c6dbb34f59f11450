"""Models that keep a vector for each position: what they know, and that nobody finds out in the middle of a run."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

import onehop
from onehop.nn import Source
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

SIZE = {"dim": 8, "ffn_dim": 8, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "learned": ("transformer", {**SIZE, "positions": "learned"}),
    "location": ("transformer", {**SIZE, "score": "location"}),
    "cross location": ("transformer", {**SIZE, "cross_score": "location"}),
    "recurrent location": ("recurrent", {"dim": 8, "hidden_dim": 8, "score": "location", "context": "attention"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_packed_rows_takes_no_positions(kind: str):
    torch.manual_seed(0)
    family, settings = KINDS[kind]
    model = onehop.models.build(family, {**settings, "max_positions": 4}, source_vocab=20).eval()
    texts = [[5, 6, 7, 2], [8, 2]]
    packed = torch.tensor([[*texts[0], *texts[1], *[0] * 9]])
    segments = torch.tensor([[0] * 4 + [1] * 2 + [-1] * 9])
    source = Source(packed, torch.tensor([6]), segments)
    target = torch.tensor([[1, 9, 10, 1, 11, *[0] * 9]])
    of_target = torch.tensor([[0, 0, 0, 1, 1, *[-1] * 9]])
    together = model.decode(target, model.start(model.encode(source)), None, of_target)[0]
    for text, start, end in ((texts[0], 0, 3), (texts[1], 3, 5)):
        state = model.start(model.encode(Source(torch.tensor([text]))))
        alone = model.decode(target[:, start:end], state)[0]
        assert torch.allclose(together[:, start:end], alone, atol=1e-5)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    place = tmp_path / "pairs.tsv"
    letters = Random(1)
    words = [" ".join(letters.sample("abcdefghijklmnopqrstuvwxyz", 5 + n % 12)) for n in range(120)]
    place.write_text("".join(f"{one}\t{other}\n" for one, other in zip(words[::2], words[::2], strict=True)))
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_positions_do_not_hold_are_told_before_training(kind: str, table: Path, tmp_path: Path):
    family, settings = KINDS[kind]
    given = {**settings, "architecture": family, "max_positions": 12}
    sets = [f"--set=model.{key}={value if isinstance(value, int) else repr(value)}" for key, value in given.items()]
    start = ["train", "--pairs", table, *sets, "--set=train.max_updates=2", "--set=train.batch_tokens=300"]
    own = kind in ("learned", "location")  # of what is written, too
    refused(
        command(*start, "--set=text.max_length=40", "--out", tmp_path / "no"),
        "max_positions=12 for texts of up to 40 tokens", f"Use at least {42 if own else 41}",
    )  # fmt: skip
    refused(command(*start, "--set=model.max_positions=1", "--out", tmp_path / "no"), "Use at least")
    done = command(*start, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert f"lines of up to {10 if own else 11} tokens" in done.err
    assert command("verify", tmp_path / "run").status == 0
    (tmp_path / "in.txt").write_text("a b c\n")
    if own:
        far, told = ["--set", "decode.max_length=12"], "learned the positions of 11 tokens of a target"
        refused(command("translate", tmp_path / "run", tmp_path / "in.txt", *far), told, "Use at most 11")
        refused(command(*start, *far, "--out", tmp_path / "no"), told)
    assert command("translate", tmp_path / "run", tmp_path / "in.txt", "--set", "decode.max_length=11").status == 0


def test_texts_to_classify_keep_within_what_is_known(tmp_path: Path):
    (tmp_path / "t.csv").write_text(
        "text,label\n"
        + "".join(f"{' '.join(['good', 'bad'][n % 2] for _ in range(20))} {n},{n % 2}\n" for n in range(60))
    )
    start = ["train", "--task", "classify", "--data", tmp_path / "t.csv", "--set=model.architecture='transformer'"]
    start += ["--set=model.positions='learned'", "--set=model.max_positions=9", "--set=model.dim=8"]
    start += [
        "--set=model.num_heads=2",
        "--set=model.ffn_dim=8",
        "--set=model.num_layers=1",
        "--set=train.max_updates=2",
    ]
    refused(
        command(*start, "--set=text.max_length=9", "--out", tmp_path / "no"), "max_positions=9 for texts of up to 9"
    )

    done = command(*start, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert "up to 8 tokens" in done.err
