import json
import shutil
from pathlib import Path

from tests.fixtures.tiny import onehop, refused


def test_names_that_look_like_markup_are_shown_as_they_are(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "[b]")
    (tmp_path / "pairs.tsv").write_text("One.\tEins.\nTwo.\tZwei.\n")
    (tmp_path / "[i].de").write_text("Eins.\nDrei.\n")
    assert "[b]" in onehop("info", "[b]").out
    assert "[i].de" in onehop("evaluate", "[b]", "--data", "pairs.tsv", "--against", "[i].de").out


def test_half_a_surrogate_and_what_steers_a_terminal_end_no_training_and_reach_no_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = ["p\u202eos", "ne\x1b[31mg", "neither"]
    rows = [{"text": f"word\ud800 {n % 7}", "label": labels[n % 3]} for n in range(90)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    short = ["--set", "train.max_updates=2", "--set", "model.dim=16", "--set", "model.hidden_dim=16"]
    done = onehop("train", "--task", "classify", "--data", "rows.jsonl", "--out", "run", *short)
    assert done.status == 0, done.err
    assert "ne\\x1b[31mg" in done.err
    assert not {"\x1b", "\u202e", "\ud800"} & set(done.err)
    again = onehop("train", "--like", "run", "--data", "rows.jsonl", "--out", "again")
    assert again.status == 0, again.err
    Path("rows.jsonl").write_text(
        "".join(json.dumps({**row, "label": ["x\ud800", "y"][n % 2]}) + "\n" for n, row in enumerate(rows))
    )
    refused(onehop("train", "--task", "classify", "--data", "rows.jsonl", "--out", "third"), "half of a surrogate pair")
