"""Looking back from a word (MECHANISMS K-01)."""

import pytest
import torch

import onehop
from onehop.errors import ConfigError
from onehop.explain import look_back, similar_past
from onehop.tasks import Translator, load_ensemble


def test_only_what_stood_before_is_named_and_the_most_alike_first():
    torch.manual_seed(0)
    vectors = torch.randn(9, 4)
    cosines = torch.nn.functional.cosine_similarity(vectors.unsqueeze(1), vectors, dim=2)
    found = similar_past(vectors, 3)
    assert found[0] == []
    for t, before in enumerate(found):
        assert [place for place, _ in before] == cosines[t, :t].argsort(descending=True)[:3].tolist()
        assert [cosine for _, cosine in before] == pytest.approx(
            [float(cosines[t, place]) for place, _ in before], abs=1e-5
        )


def test_of_places_that_are_alike_the_latest_comes_first():
    one, other = [1.0, 2.0], [2.0, -1.0]
    assert [place for place, _ in similar_past(torch.tensor([one, one, other, one]), 2)[3]] == [1, 0]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return onehop.load("en-de")


def test_a_word_of_several_pieces_is_one_and_finds_itself(translator: Translator):
    text = "Unbelievably few dogs are unusually unlucky , Unbelievably"
    found = look_back(translator, text, of="embeddings")
    assert [past.text for past in found] == text.split()
    best = found[7].earlier[0]
    assert (best.place, best.text, best.likeness) == (0, "Unbelievably", 1.0)


def test_states_know_their_context(translator: Translator):
    found = look_back(translator, "The bank of the river and the bank of England", top=9)
    bank = {earlier.place: earlier.likeness for earlier in found[7].earlier}
    assert bank[1] < 0.999
    assert bank[1] == max(bank.values())


def test_nothing_stands_before_an_empty_text(translator: Translator):
    assert look_back(translator, "") == []


def test_an_ensemble_has_no_states():
    with pytest.raises(ConfigError, match="ensemble"):
        look_back(load_ensemble(["en-de", "en-de"]), "A dog")
