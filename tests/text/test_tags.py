"""Tags: control tokens that a user declares."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.errors import ConfigError, ModelError
from onehop.text import EOS, LEAST_VOCAB_SIZE, Tokenizer, train_bpe
from onehop.text.vocabulary import RESERVED

LINES = ["the <tag:news> old mill <tag:talk> grinds", "news and talk: the mill stands <tag:> still"] * 30
TAGS = ("news", "Talk_2-b", "x" * 32)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(LINES, 400, tags=TAGS)


def test_tags_stand_right_after_the_bytes_in_the_order_given(tokenizer: Tokenizer):
    first = len(RESERVED)
    assert tokenizer.tags == TAGS
    assert [tokenizer.tag(name) for name in TAGS] == [first, first + 1, first + 2]
    assert tokenizer.pieces(range(first, first + 4)) == [*(f"<tag:{name}>" for name in TAGS), " "]


def test_the_size_asked_for_includes_the_tags():
    with_tags, without = train_bpe(LINES, 303, tags=TAGS), train_bpe(LINES, 303)
    assert with_tags.vocab_size == without.vocab_size == 303
    assert without.tags == ()


@given(text=st.lists(st.sampled_from(["<tag:", "news", ">", "<tag:news>", " ", "Talk_2-b", "\ud800"])).map("".join))
@settings(deadline=None, max_examples=100)
def test_text_is_never_read_as_a_tag(tokenizer: Tokenizer, text: str):
    tokens = tokenizer.encode(text)
    assert not {tokenizer.tag(name) for name in TAGS} & set(tokens)
    assert tokenizer.decode(tokens) == text


def test_tags_are_skipped_in_decoding(tokenizer: Tokenizer):
    tokens = tokenizer.encode("the old mill")
    for name in TAGS:
        assert tokenizer.decode([tokenizer.tag(name), *tokens, EOS, tokenizer.tag(name)]) == "the old mill"


def test_tags_survive_the_json(tokenizer: Tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.tags == TAGS
    assert again.to_json() == tokenizer.to_json()
    assert again.encode_batch(LINES) == tokenizer.encode_batch(LINES)


def test_an_unknown_tag_names_the_nearest(tokenizer: Tokenizer):
    with pytest.raises(ConfigError, match="did you mean 'news'") as caught:
        tokenizer.tag("newss")
    assert "Talk_2-b" in caught.value.remedy


def test_a_tag_of_a_vocabulary_without_tags_has_a_remedy():
    with pytest.raises(ConfigError, match="no tag 'news'") as caught:
        train_bpe(LINES, 300).tag("news")
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["", "x" * 33, "a b", "a>", "naïve", "a\n", "\ud800"])
def test_a_name_that_would_not_be_plain_is_refused(name: str):
    with pytest.raises(ConfigError, match="cannot name a tag"):
        train_bpe(LINES, 400, tags=["news", name])


def test_a_tag_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        train_bpe(LINES, 400, tags=["news", "talk", "news"])


def test_tags_that_leave_no_room_name_the_least_size():
    with pytest.raises(ConfigError, match="3 tags") as caught:
        train_bpe(LINES, LEAST_VOCAB_SIZE + 2, tags=TAGS)
    assert str(LEAST_VOCAB_SIZE + 3) in caught.value.remedy
    assert train_bpe(LINES, LEAST_VOCAB_SIZE + 3, tags=TAGS).tags == TAGS


def test_a_merge_that_makes_a_tag_is_refused(tokenizer: Tokenizer):
    data = json.loads(tokenizer.to_json())
    vocab = data["model"]["vocab"]
    vocab["<tag:"], vocab["news>"] = len(vocab), len(vocab) + 1
    data["model"]["merges"].append(["<tag:", "news>"])
    with pytest.raises(ModelError, match="<tag:news>"):
        Tokenizer.from_json(json.dumps(data))
