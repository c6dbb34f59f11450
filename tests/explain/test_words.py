import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onehop.explain.words import END, UNSPACED, merge, split_words
from onehop.text import Tokenizer, train_bpe

TEXTS = ["the cat sat on the mat", "Die Katze saß  auf der Matte.", "ein\u00a0Wort", "猫はマットの上に座った。"] * 5
TOKENIZER = train_bpe(TEXTS, vocab_size=340, tags=["news"])
SPACED = st.text(st.characters(exclude_categories=("Cs",)), max_size=30).filter(lambda text: not UNSPACED.search(text))


@given(SPACED)
def test_words_are_those_of_whoever_splits_the_text_at_white_space(text: str):
    tokens = TOKENIZER.encode(text)
    words = split_words(TOKENIZER, tokens, end=False)
    assert [word for word in words.texts if word] == TOKENIZER.decode(tokens).split()
    assert len(words.owners) == len(tokens)
    assert list(words.owners) == sorted(words.owners)


@given(st.text(max_size=30), st.integers(0, 30))
def test_any_tokens_have_words_and_each_piece_belongs_to_one(text: str, start: int):
    tokens = TOKENIZER.encode(text)[start:]
    words = split_words(TOKENIZER, tokens)
    assert len(words.owners) == len(tokens) + 1
    assert set(words.owners) <= set(range(len(words)))
    assert words.texts[-1] == END
    assert words.marks[-1]


def test_pieces_of_a_script_without_spaces_stay_and_the_bytes_of_a_character_are_one():
    text = "猫はマット鷺。"
    tokens = TOKENIZER.encode(text)
    words = split_words(TOKENIZER, tokens, end=False)
    assert "".join(words.texts) == text
    assert len(words) > 2
    egret = words.texts.index("鷺")
    assert words.owners.count(egret) == 3  # its bytes


def test_words_between_scripts_are_kept_apart():
    words = split_words(TOKENIZER, TOKENIZER.encode("the猫cat sat"), end=False)
    assert words.texts == ("the", "猫", "cat", "sat")


def test_a_tag_and_the_end_mark_are_marks_and_text_that_looks_like_them_is_none():
    tokens = [TOKENIZER.tag("news"), *TOKENIZER.encode("</s> the")]
    words = split_words(TOKENIZER, tokens)
    assert words.texts == ("<tag:news>", "</s>", "the", END)
    assert words.marks == (True, False, False, True)


def test_a_window_that_begins_inside_a_word_says_so():
    def continues(tokenizer: Tokenizer, skipped: int) -> bool:
        return split_words(tokenizer, tokenizer.encode("the mats")[skipped:]).continues

    assert [continues(TOKENIZER, n) for n in range(3)] == [False, False, True]


@pytest.mark.parametrize("text", ["the mats sat", "x", "", "猫 mats"])
def test_weights_of_words_sum_to_what_those_of_pieces_do(text: str):
    words = split_words(TOKENIZER, TOKENIZER.encode(text))
    size = len(words.owners)
    weights = torch.rand(2, size, size).softmax(-1)
    merged = merge(weights, words, words)
    assert merged.shape == (2, len(words), len(words))
    torch.testing.assert_close(merged.sum(-1), torch.ones(2, len(words)))
    torch.testing.assert_close(merged[:, -1, -1], weights[:, -1, -1])
