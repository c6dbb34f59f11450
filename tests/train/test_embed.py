"""Models that embed, trained: pairs with scores, pairs of like meaning, triplets; the command line; what is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from onehop.tasks import load_package
from onehop.tasks.adapters import adapter_of, merged
from onehop.tasks.embedding import Embedder
from onehop.tasks.foreign import save_checkpoint
from onehop.tasks.package import new_package, save_package
from onehop.train import make_recipe, train
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
BASE = CHECKPOINTS / "BertModel"
WORDS = ["cat", "dog", "mat", "rug", "sat", "ran"]
OTHER = dict(zip(WORDS, WORDS[3:] + WORDS[:3], strict=True))  # what means the same in a language of our own
SHORT = ["--set", "train.max_updates=4", "--set", "train.evaluate_every=2"]


def scored(path: Path, count: int, shift: float = 0.0) -> Path:
    """Write pairs of texts of different words; the score is how many words have one of like meaning in the other."""
    draw = random.Random(3)
    ours, theirs = ["cat", "dog", "mat", "red"], ["rug", "sat", "ran", "big"]
    lines = ["sentence1,sentence2,score"]
    for _ in range(count):
        one, other = (draw.sample(range(4), k=2) for _ in range(2))
        texts = " ".join(ours[n] for n in one), " ".join(theirs[n] for n in other)
        lines.append(f"{texts[0]},{texts[1]},{shift + len({*one} & {*other})}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def meant(path: Path, count: int, negatives: int = 0, seed: int = 5) -> Path:
    """Write texts with those that mean the same, and texts that do not."""
    draw = random.Random(seed)
    names = ["query", "positive", *(f"negative_{n}" for n in range(negatives))]
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(count):
            words = draw.sample(WORDS, k=3)
            texts = [" ".join(words), "big " + " ".join(OTHER[word] for word in words)]
            texts += [" ".join(draw.sample(WORDS, k=3)) for _ in range(negatives)]
            file.write(json.dumps(dict(zip(names, texts, strict=True))) + "\n")
    return path


def wide(folder: Path) -> Path:
    """Write a model that has learnt nothing, and is wide enough to learn something."""
    begun = load_package(BASE).task
    sizes = {"dim": 32, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "dropout": 0.0, "attention_dropout": 0.0}
    model = {key: value for key, value in begun.settings.model.items() if key != "embedding_dim"} | sizes
    torch.manual_seed(1)
    made = Embedder.build(begun.settings.model_copy(update={"model": model, "heads": []}), begun.tokenizer)
    save_package(new_package(made, ["the cat"], ""), folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wide(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    data = meant(folder / "train.jsonl", 150), meant(folder / "valid.jsonl", 40, seed=6)
    done = command(
        "train", "--task", "embed", "--data", data[0], "--valid", data[1], "--init", base, "--out", folder / "run",
        "--set", "train.max_updates=80", "--set", "train.evaluate_every=20", "--set", "train.learning_rate=3e-3",
        "--set", "data.check=false",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "for 'query' is to be found 'positive'" in done.err
    assert "objective: contrastive" in done.err
    assert "150 training rows, 40 for validation (from your files)" in done.err
    return folder / "run"


def test_it_learns_which_texts_mean_the_same(run: Path):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    figures = [row for row in rows if row["kind"] == "evaluation"]
    assert figures[0]["update"] == 0
    assert figures[-1]["mrr"] > figures[0]["mrr"] + 0.2
    assert figures[-1]["accuracy"] > 0.4
    task = load_package(run, task="embed").task
    asked, right, wrong = (one.vector for one in task.predict(["cat dog mat", "big rug sat ran", "big cat dog rug"]))
    assert float(asked @ right) > float(asked @ wrong)
    assert float(asked.norm()) == pytest.approx(1, abs=1e-5)


def test_it_predicts_evaluates_verifies_and_exports_from_the_command_line(run: Path, tmp_path: Path):
    table = run.parent / "valid.jsonl"
    embedded = command("predict", run, "-", stdin=b"cat dog\n\n")
    assert [len(json.loads(line)["embedding"]) for line in embedded.out.splitlines()] == [32, 32]
    assert "1 texts are empty; their vectors are those of a text without a word" in embedded.err
    assert "empty" not in command("predict", run, "-", stdin=b"cat dog\n").err
    told = command("evaluate", run, "--data", table, "--json")
    report = json.loads(told.out)
    last = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    best = max(row["mrr"] for row in last if row["kind"] == "evaluation")
    assert report["mrr"] == pytest.approx(best, abs=2e-3)
    assert report["mrr_interval"][0] <= report["mrr"] <= report["mrr_interval"][1]
    assert (report["queries"], report["without"]) == (len({*asked_of(table)}), 0)
    shown = command("evaluate", run, "--data", table, "--against", BASE, "-o", tmp_path / "places.txt")
    for part in ("MRR", "found first", "found among the first ten", "95 % interval", "against"):
        assert part in shown.out
    again = json.loads(
        command("evaluate", run, "--data", table, "--against", tmp_path / "places.txt", "--json").out
    )  # fmt: skip
    assert (again["against"]["mrr_difference"], again["against"]["p"]) == (0, 1)
    assert command("verify", run).status == 0
    card = (run / "model" / "MODEL_CARD.md").read_text()
    assert "to find a text's own among others" in card
    assert "MRR" in card
    ours = load_package(run).task
    assert save_checkpoint(ours, tmp_path / "hf") == "BertModel"
    texts = ["cat dog mat", "a rug"]
    for one, other in zip(ours.predict(texts), load_package(tmp_path / "hf").task.predict(texts), strict=True):
        assert torch.allclose(one.vector, other.vector, atol=1e-6)


def test_search_finds_by_meaning_from_the_command_line(run: Path, tmp_path: Path):
    collection = tmp_path / "collection.txt"
    texts = ["big rug sat ran", "big cat dog rug", "big mat sat dog", "a", "the"]
    collection.write_text("".join(f"{text}\n" for text in texts))
    found = command("search", run, collection, "-", "-k", "2", stdin=b"cat dog mat\nrug sat ran\n")
    assert found.status == 0, found.err
    first, second = map(json.loads, found.out.splitlines())
    assert first["found"][0]["text"] == "big rug sat ran"
    assert first["found"][0]["where"].endswith("collection.txt:1")
    assert [len(row["found"]) for row in (first, second)] == [2, 2]
    assert first["found"][0]["cosine"] >= first["found"][1]["cosine"]
    table = tmp_path / "asked.csv"
    table.write_text("id,question\n7,cat dog mat\n")
    kept = command("search", run, collection, table, "-k", "2", "--index", tmp_path / "a.index")
    assert "5 vectors written" in kept.err
    assert json.loads(kept.out)["found"] == first["found"]
    out = tmp_path / "out.jsonl"
    again = command("search", run, collection, table, "-k", "2", "--index", tmp_path / "a.index", "-o", out)
    assert "5 vectors of" in again.err
    assert json.loads(out.read_text())["found"] == first["found"]


def test_search_drops_cuts_or_refuses_what_is_too_long(run: Path, tmp_path: Path):
    long = " ".join(["cat"] * 200)
    collection, asked = tmp_path / "collection.txt", tmp_path / "asked.txt"
    collection.write_text(f"{long}\ncat\nrug\n")
    asked.write_text(f"{long}\ncat\n")
    refused(command("search", run, collection, asked), "longer than the model's limit", "asked.txt:1")
    refused(command("search", run, collection, "-", stdin=b"cat"), "longer than the model's limit", "collection.txt:1")
    done = command("search", run, collection, asked, "--long", "drop")
    rows = [json.loads(line)["found"] for line in done.out.splitlines()]
    assert rows[0] == []
    assert {row["text"] for row in rows[1]} == {"cat", "rug"}
    assert "1 texts of the collection were too long and left out" in done.err
    assert "1 texts were too long and left out" in done.err
    for policy in ("cut", "window"):
        done = command("search", run, collection, asked, "--long", policy, "-k", "1")
        assert json.loads(done.out.splitlines()[0])["found"][0]["text"] == long
    refused(command("search", CHECKPOINTS / "BertForMultipleChoice", collection, asked), "not 'embed'")
    two = tmp_path / "two.csv"
    two.write_text("question,answer_text\na,b\n")
    refused(command("search", run, two, "-", stdin=b"cat"), "2 texts, and a vector is of one", "two.csv:2")
    refused(command("search", run, asked, asked, "-o", tmp_path / "no" / "o", "--long", "cut"), "cannot write")


def asked_of(table: Path) -> list[str]:
    return [json.loads(line)["query"] for line in table.read_text().splitlines()]


def test_search_leaves_out_empty_texts_and_reads_a_column_of_either_table(run: Path, tmp_path: Path):
    collection, asked = tmp_path / "c.txt", tmp_path / "q.txt"
    collection.write_text("\ncat\n  \nrug\n")
    asked.write_text("cat\n\n")
    first, second = [json.loads(line)["found"] for line in command("search", run, collection, asked).out.splitlines()]
    assert [row["where"].rsplit(":", 1)[1] for row in first] == ["2", "4"]
    assert second == []
    passages, questions = tmp_path / "p.csv", tmp_path / "q.csv"
    passages.write_text("id,passage\n1,cat\n2,rug\n")
    questions.write_text("id,ask\n1,cat\n")
    named = ("--text-column", "passage", "--query-column", "ask")
    [line] = command("search", run, passages, questions, *named).out.splitlines()
    assert json.loads(line)["found"][0]["text"] == "cat"
    refused(command("search", run, "-", "-", stdin=b"cat\n"), "standard input twice")
    same = ("--index", tmp_path / "one", "-o", tmp_path / "one")
    refused(command("search", run, passages, questions, *named, *same), "one file for the index and the output")


def test_few_rows_are_all_learnt_from_and_nothing_to_learn_is_told(tmp_path: Path):
    table = meant(tmp_path / "a.jsonl", 60)
    done = command("train", "--task", "embed", "--data", table, "--init", BASE, "--out", tmp_path / "run", *SHORT)
    assert done.status == 0, done.err
    assert "60 training rows, 0 for validation" in done.err
    assert "no validation; this model is kept" in done.err
    same = tmp_path / "same.tsv"
    same.write_text("".join(f"the cat\tthe {word} sat\n" for word in WORDS * 5))
    given = ("train", "--task", "embed", "--init", BASE, "--out", tmp_path / "no")
    refused(command(*given, "--data", same), "all rows have one text in common")
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"query": "a", "positive": ""}\n')
    refused(command(*given, "--data", table, "--valid", empty), "no row of texts for validation", "empty.jsonl")


@pytest.mark.parametrize("objective", ["ranking", "cosine"])
def test_cosines_learn_to_follow_scores(objective: str, base: Path, tmp_path: Path):
    table = scored(tmp_path / "pairs.csv", 400)
    given = {"task": "embed", "data": {"train": [str(table)]}, "vector": {"objective": objective}}
    steps = {"init": str(base), "max_updates": 100, "learning_rate": 3e-3, "evaluate_every": 50}
    made = train(make_recipe({**given, "train": steps}), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    figures = [row for row in rows if row["kind"] == "evaluation"]
    assert figures[0]["spearman"] < 0.5
    assert figures[-1]["spearman"] > 0.8
    assert figures[-1]["loss"] < figures[0]["loss"]
    task = load_package(made.model).task
    report = json.loads(command("evaluate", made.model, "--data", table, "--json").out)
    assert report["spearman"] > 0.8
    assert report["pairs"] == 400
    one, same, other = (found.vector for found in task.predict(["cat dog", "rug sat", "ran big"]))
    assert float(one @ same) > float(one @ other)
    recipe = (tmp_path / "run" / "recipe.toml").read_text()
    assert "score_range = [0.0, 2.0]" in recipe
    assert 'text_columns = ["sentence1", "sentence2"]' in recipe


def test_scores_of_validation_belong_to_the_range_too(tmp_path: Path):
    table, high = scored(tmp_path / "pairs.csv", 30), tmp_path / "high.csv"
    high.write_text("sentence1,sentence2,score\ncat dog,cat dog,4.5\ncat dog,ran big,0\n")
    given = ("train", "--task", "embed", "--data", table, "--valid", high, "--init", BASE)
    refused(
        command(*given, "--set", "data.score_range=[0,2]", "--out", tmp_path / "no"),
        "scores from 0 to 4.5 lie outside of [0.0, 2.0]",
    )
    done = command(*given, "--set", "train.max_updates=1", "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert "scores from 0 to 4.5" in done.out + done.err
    assert "score_range = [0.0, 4.5]" in (tmp_path / "run" / "recipe.toml").read_text()


def test_triplets_learn_from_what_is_not_to_be_found(tmp_path: Path):
    table = meant(tmp_path / "a.jsonl", 150, negatives=2)
    done = command(
        "train", "--task", "embed", "--data", table, "--init", BASE, "--out", tmp_path / "run", *SHORT,
        "--set", "vector.pooling=cls", "--set", "train.packing=false",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "for 'query' is to be found 'positive', and not 'negative_0', 'negative_1'" in done.err
    settings = load_package(tmp_path / "run").task.settings
    assert settings.pooling == "cls"
    page = (tmp_path / "run/report.html").read_text()
    assert [part for part in ("MRR", "Surest mistakes", "place of the right one") if part not in page] == []


def test_long_texts_are_cut_each_by_itself_dropped_or_an_error(tmp_path: Path):
    table, long = tmp_path / "a.jsonl", " ".join(["cat"] * 50)
    rows = [{"query": "cat dog", "positive": long}, *({"query": f"dog {w}", "positive": w} for w in WORDS * 5)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("train", "--task", "embed", "--data", table, "--init", BASE, *SHORT, "--set", "text.max_length=10")
    refused(command(*given, "--out", tmp_path / "a"), "50 tokens", "a.jsonl:1")
    for policy, told in (("cut", "cut, 40 tokens lost"), ("drop", "dropped, 52 tokens lost")):
        done = command(*given, "--out", tmp_path / policy, "--long", policy)
        assert done.status == 0, done.err
        assert told in done.err.replace("\n", " ")


def test_an_adapter_is_learnt_goes_on_and_what_begins_with_it_begins_with_its_changes(base: Path, tmp_path: Path):
    table = scored(tmp_path / "pairs.csv", 60)
    steps: dict[str, Any] = {"max_updates": 40, "lora_rank": 2, "learning_rate": 0.01}
    data = {"task": "embed", "data": {"train": [str(table)]}}
    train(make_recipe({**data, "train": {**steps, "init": str(base)}}), tmp_path / "one")
    task = load_package(tmp_path / "one").task
    assert adapter_of(task) is not None
    vector = task.predict(["cat dog"])[0].vector
    assert not torch.allclose(vector, load_package(base).task.predict(["cat dog"])[0].vector, atol=1e-3)
    assert torch.allclose(vector, merged(task).predict(["cat dog"])[0].vector, atol=1e-5)
    held = {**steps, "init": str(tmp_path / "one"), "max_updates": 1, "learning_rate": 1e-12}
    for name, changes in (("more", {}), ("whole", {"lora_rank": None})):
        train(make_recipe({**data, "train": {**held, **changes}}), tmp_path / name)
        again = load_package(tmp_path / name).task
        assert (adapter_of(again) is None) == (name == "whole")
        assert torch.allclose(vector, again.predict(["cat dog"])[0].vector, atol=1e-5), name
    texts = tmp_path / "t.csv"
    texts.write_text("text,label\n" + "".join(f"the {word},{n % 2}\n" for n, word in enumerate(WORDS * 3)))
    begun = {"init": str(tmp_path / "one"), "max_updates": 1, "learning_rate": 1e-12}
    made = train(
        make_recipe({"task": "classify", "data": {"train": [str(texts)]}, "train": begun}), tmp_path / "labels"
    )
    refused(
        command("train", "--task", "classify", "--data", texts, "--init", tmp_path / "one", "--set",
                "train.lora_rank=2", "--out", tmp_path / "no"),
        "is an adapter, of another task",
    )  # fmt: skip
    ours, theirs = load_package(made.model).task.model.encoder, merged(task).model.encoder
    for name, value in theirs.named_parameters():
        assert torch.allclose(value, ours.get_parameter(name), atol=1e-6), name


def test_what_cannot_be_learnt_is_one_message(run: Path, tmp_path: Path):
    def tried(*more: str, init: object = BASE, table: Path | None = None) -> Any:
        begun = ("--init", init) if init else ()
        given = ("--task", "embed", "--data", table or scored(tmp_path / "p.csv", 30), *begun)
        return command("train", *given, "--out", tmp_path / "run", *more)

    refused(tried(init=None), "vectors are learnt by a pretrained encoder only")
    refused(tried("--set", "vector.objective=contrastive"), "of which those of low score must not be near each other")
    refused(tried("--set", "train.best=mrr"), "'mrr' is a figure of data without scores")
    refused(tried("--set", "data.score_range=[0,1]"), "scores from 0 to 2 lie outside of [0.0, 1.0]")
    refused(tried("--set", "data.score_range=[3,1]"), "the smaller first")
    refused(tried("--set", "train.frozen=true"), "so nothing would learn")
    refused(tried("--set", "train.r_drop=1"), "compares distributions")
    refused(tried("--set", "text.long=window"), "has no windows")
    refused(tried("--set", "text.max_length=9999"), "the model that train.init names reads")
    refused(tried("--set", "model.dim=7"), "model.dim = 7")
    plain = meant(tmp_path / "m.jsonl", 30)
    refused(tried("--set", "vector.objective=cosine", table=plain), "there are no scores")
    refused(tried("--set", "train.best=pearson", table=plain), "'pearson' is a figure of data with scores")
    (tmp_path / "v.csv").write_text("query,positive,score\na,b,1\n")
    refused(tried("--valid", str(tmp_path / "v.csv"), table=plain), "files of both kinds")
    refused(tried("--valid", str(scored(tmp_path / "w.csv", 9)), table=plain), "no column 'query'", "w.csv:1")
    same = tmp_path / "same.csv"
    same.write_text("query,positive,score\n" + "a,b,2\n" * 9)
    refused(tried(table=same), "one score only, 2")
    same.write_text("query,positive,score\na,b,2\nb,a,nan\n")
    refused(tried(table=same), "the score 'nan' is no finite number", "same.csv:3")
    same.write_text("query,positive,score\n ,b,2\n")
    refused(tried(table=same), "no row of texts")
    assert not (tmp_path / "run").exists()
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"query": "a", "positive": " "}\n')
    refused(command("evaluate", run, "--data", bad), "an empty text or no score", "bad.jsonl:1")
    (tmp_path / "words.txt").write_text("near\n" * 40)
    table = run.parent / "valid.jsonl"
    refused(command("evaluate", run, "--data", table, "--against", tmp_path / "words.txt"), "no number", "words.txt:1")


def test_what_is_wrong_with_the_texts_is_told(tmp_path: Path):
    table = tmp_path / "a.jsonl"
    rows = [{"query": f"{w} {v}", "positive": f"{v}"} for w in WORDS for v in WORDS]
    rows += [{"query": "cat", "positive": "cat"}, {"query": "", "positive": "dog"}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("train", "--task", "embed", "--data", table, "--init", BASE, "--out", tmp_path / "run", *SHORT)
    told = done.err.replace("\n", " ")
    assert "1 rows with an empty text or no score were left out" in told
    assert "1 rows have the same text twice" in told
