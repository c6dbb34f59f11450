"""Scoring of models that embed: who asks and who is found, what equals the question, and files of another system."""

import json
from pathlib import Path

import pytest
import torch

from onehop.data.alike import Alike
from onehop.errors import DataError, ModelError
from onehop.evaluate.embedding import AlikeRows, Collection, evaluate_vectors
from onehop.evaluate.scored import Given
from onehop.tasks import load_package
from tests.fixtures.tiny import onehop as command
from tests.fixtures.tiny import refused

BASE = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"


@pytest.fixture(scope="module")
def embedder():
    return load_package(BASE).task


def test_every_distinct_question_counts_once_by_the_best_of_its_answers(embedder):
    answers = ["the cat", "the dog ran", "a mat"]
    rows = [Alike(("the cat sat", text)) for text in answers] + [Alike(("a dog", "big red rug"))]
    report = evaluate_vectors(embedder, AlikeRows(rows)).to_dict()
    assert (report["queries"], report["among"]) == (2, 4)
    vectors = {text: embedder.predict([text])[0].vector for row in rows for text in row.texts}
    places = []
    for asked, right in (("the cat sat", answers), ("a dog", ["big red rug"])):
        cosines = {text: float(vectors[asked] @ vectors[text]) for text in (*answers, "big red rug")}
        best = max(cosines[text] for text in right)
        places.append(1 + sum(value >= best for text, value in cosines.items() if text not in right))
    assert report["mrr"] == pytest.approx(sum(1 / place for place in places) / 2, abs=1e-4)


def test_a_text_is_not_looked_for_by_itself():
    collection = Collection.of([("a", "b"), ("b", "c"), ("c", "a")])
    assert collection.besides == [[2], [0], [1]]
    vectors = torch.eye(3)
    others = torch.stack([vectors[1], vectors[2], vectors[0]])
    assert collection.places(vectors, others) == [2, 2, 2]  # one of the two others stands before, at the same distance
    assert [near.place for near in collection.firsts(vectors, others)] == [0, 1, 0]
    same = Collection.of([("a", "a")])
    assert (same.besides, same.places(vectors[:1], vectors[:1])) == ([[]], [1])


def test_texts_of_the_same_tokens_are_the_same(embedder):
    rows = [Alike(("the mat", "the cat")), Alike(("the rug", "The CAT")), Alike(("a dog", "big"))]
    assert evaluate_vectors(embedder, AlikeRows(rows)).to_dict()["queries"] == 3
    near = [Alike(("The CAT", "the cat")), Alike(("the cat", "a dog")), Alike(("THE cat", "big"))]
    report = evaluate_vectors(embedder, AlikeRows(near)).to_dict()
    assert (report["queries"], report["mrr"]) == (1, 1)
    rows = [Alike(("the mat", "the cat")), Alike(("the rug", "The CAT"))]
    assert evaluate_vectors(embedder, AlikeRows(rows)).to_dict()["among"] == 1


def test_a_model_of_no_numbers_is_refused_and_what_cannot_be_correlated(embedder):
    broken = load_package(BASE).task
    with torch.no_grad():
        broken.model.encoder.embeddings.tokens.weight.fill_(float("nan"))
    rows = [Alike(("the mat", "the cat")), Alike(("the rug", "a dog"))]
    with pytest.raises(ModelError, match="not finite"):
        evaluate_vectors(broken, AlikeRows(rows))
    with pytest.raises(DataError, match="one score only"):
        evaluate_vectors(embedder, AlikeRows([Alike(row.texts, 2.0) for row in rows]))


def test_what_was_dropped_is_not_found_and_finds_nothing(embedder):
    long = " ".join(["cat"] * 200)
    rows = [Alike(("the mat", "the cat")), Alike((long, "a dog")), Alike(("the rug", long))]
    report = evaluate_vectors(embedder, AlikeRows(rows), long="drop").to_dict()
    assert (report["without"], report["dropped"]) == (1, 1)
    scored = [Alike(row.texts, score) for row, score in zip(rows, (1.0, 2.0, 3.0), strict=True)]
    assert evaluate_vectors(embedder, AlikeRows(scored), long="drop").to_dict()["without"] == 2


@pytest.mark.parametrize(
    ("scores", "theirs", "told"),
    [
        ((1.0, 2.0), [0.5, 3.0], "3 is not a cosine"),
        ((None, None), [0.5, 1.0], "0.5 is not a place"),
        ((None, None), [0.0, 1.0], "0 is not a place"),
        ((None, None), [1.0], "1 values for 2"),
    ],
)
def test_values_of_another_kind_are_refused(embedder, scores, theirs: list[float], told: str):
    rows = [Alike(("the mat", "the cat"), scores[0]), Alike(("the rug", "a dog"), scores[1])]
    with pytest.raises(DataError, match=told):
        evaluate_vectors(embedder, AlikeRows(rows), against=Given("other", theirs))


def test_a_file_of_what_is_no_number_is_refused_with_its_line(tmp_path: Path):
    table, other = tmp_path / "a.jsonl", tmp_path / "other.txt"
    table.write_text("".join(json.dumps({"query": f"the {w}", "positive": w}) + "\n" for w in ("cat", "dog")))
    for text in ("nan", "inf", "near"):
        other.write_text(f"1\n{text}\n")
        refused(command("evaluate", BASE, "--data", table, "--against", other), "no number", "other.txt:2")
