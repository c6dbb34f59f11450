"""Similarity search against plain sorting, and the file that keeps a collection's vectors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from onehop.errors import DataError, FileError, ModelError
from onehop.tasks import load_package, nearest
from onehop.tasks.index import indexed
from onehop.tasks.nearest import Nearest

BASE = Path(__file__).parents[1] / "fixtures" / "checkpoints" / "BertModel"
TEXTS = ["the cat sat", "a dog ran", "the mat", "big red rug", "the cat sat"]


@pytest.mark.parametrize("together", [1, 70, 1 << 22])
def test_what_is_found_is_what_sorting_all_cosines_finds(together: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nearest, "TOGETHER", together)
    draw = torch.Generator().manual_seed(1)
    vectors, asked = torch.randn(60, 8, generator=draw), torch.randn(9, 8, generator=draw)
    vectors[40:50] = vectors[:10]  # equal ones
    vectors[3] *= 100
    cosines = torch.nn.functional.cosine_similarity(asked.unsqueeze(1), vectors, dim=-1)
    for row, found in zip(cosines.tolist(), Nearest(vectors).find(asked, 7), strict=True):
        order = sorted(range(60), key=lambda n: (-round(row[n], 5), n))[:7]
        assert [near.place for near in found] == order
        assert [near.cosine for near in found] == pytest.approx([row[n] for n in order], abs=1e-6)
    places = Nearest(vectors).ranks(asked, [[n, 20 + n] for n in range(9)])
    for number, (row, place) in enumerate(zip(cosines.tolist(), places, strict=True)):
        best = max(row[number], row[20 + number]) - 1e-6
        assert place == 1 + sum(value >= best for n, value in enumerate(row) if n not in (number, 20 + number))


def test_fewer_texts_than_asked_for_and_none():
    found = Nearest(torch.eye(2)).find(torch.eye(2)[:1], 5)
    assert [near.place for near in found[0]] == [0, 1]
    assert Nearest(torch.eye(2)).find(torch.eye(2), 0) == [[], []]
    with pytest.raises(DataError, match="no text to search in"):
        Nearest(torch.zeros(0, 3))


def test_one_vector_for_all_texts_finds_nothing_first():
    same = torch.ones(20, 4)
    assert Nearest(same).ranks(same[:3], [[0], [1], [2]]) == [20, 20, 20]


def test_what_has_no_vector_is_never_found_and_what_is_no_number_refused():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    nearest = Nearest(vectors)
    assert [near.place for near in nearest.find(torch.tensor([[1.0, 0.0]]), 3)[0]] == [1, 2]
    assert nearest.ranks(torch.tensor([[1.0, 0.0]]), [[0]]) == [3]
    assert nearest.ranks(torch.tensor([[1.0, 0.0]]), [[2]], [[1]]) == [1]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ModelError, match="not finite"):
            Nearest(torch.tensor([[bad, 0.0]]))
        with pytest.raises(ModelError, match="not finite"):
            nearest.find(torch.tensor([[bad, 0.0]]), 1)


def test_equal_texts_are_found_in_their_order_and_long_ones_are_told_also_from_the_index(tmp_path: Path):
    embedder, told, path = load_package(BASE).task, list[str](), tmp_path / "a.index"
    texts = ["the cat", "a dog ran", "the cat", " ".join(["cat"] * 200), "the cat"]
    for _ in range(2):
        nearest = indexed(embedder, texts, long="drop", path=path, tell=told.append)
        asked = embedder.predict(["the cat"])[0].vector
        assert [near.place for near in nearest.find(asked[None], 5)[0]] == [0, 2, 4, 1]
        assert told[-1] == "1 texts of the collection were too long and left out, 200 tokens not read"
    indexed(embedder, texts, long="cut", path=path, tell=told.append)
    assert "made by another model, of other texts, or otherwise" in told[-3]
    assert "too long and cut" in told[-1]


def test_an_index_is_read_where_it_is_of_the_same_texts_and_model_and_else_made_anew(tmp_path: Path):
    embedder, path, told = load_package(BASE).task, tmp_path / "a.index", list[str]()
    first = indexed(embedder, TEXTS, path=path, tell=told.append)
    kept = load_file(path)
    assert set(kept) == {"vectors", "lost", "made_of"}
    embedder.predict = None  # what is kept is not made again
    again = indexed(embedder, TEXTS, path=path, tell=told.append)
    assert torch.equal(first.vectors, again.vectors)
    del embedder.predict
    others: list[tuple[str, object, list[str]]] = [
        ("text", embedder, ["the cat", *TEXTS[1:]]), ("joined", embedder, ["the cat sata", " dog ran", *TEXTS[2:]]),
    ]  # fmt: skip
    changed = load_package(BASE).task
    changed.settings = changed.settings.model_copy(update={"pooling": "cls"})
    others.append(("pooling", changed, TEXTS))
    weight = load_package(BASE).task
    with torch.no_grad():
        weight.model.encoder.embeddings.tokens.weight[7] += 1
    others.append(("weights", weight, TEXTS))
    for name, other, texts in others:
        indexed(embedder, TEXTS, path=path)
        made = indexed(other, texts, path=path, tell=told.append)  # type: ignore[arg-type]
        assert "is made anew" in told[-2], name
        assert torch.equal(load_file(path)["vectors"], made.vectors), name
    assert [line.split(": ")[1][:14] for line in told[:2]] == ["5 vectors writ", "5 vectors of /"]


def test_a_file_that_is_no_index_is_left_as_it_is(tmp_path: Path):
    embedder, path = load_package(BASE).task, tmp_path / "a.index"
    for data in (b"", b"notes", (BASE / "model.safetensors").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(FileError, match="no index of vectors"):
            indexed(embedder, TEXTS, path=path)
        assert path.read_bytes() == data
    with pytest.raises(FileError, match="cannot write"):
        indexed(embedder, TEXTS, path=tmp_path / "none" / "a.index")
    with pytest.raises(DataError, match="no text to search in"):
        indexed(embedder, [], path=path)
