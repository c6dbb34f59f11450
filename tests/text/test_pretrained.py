import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehop.errors import ModelError
from onehop.text.pretrained import PretrainedTokenizer
from onehop.text.vocabularies import NAMES, TokenizerFiles, read_files, wordpiece
from tests.fixtures.hostile import MARKS, line

FOLDER = Path(__file__).parents[1] / "fixtures" / "tokenizers"
KINDS = ["uncased", "cased", "accents", "unsplit", "bytes", "modern", "unigram"]
BLOCK, BLOCKS = 500, 24
SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]


def load(kind: str) -> PretrainedTokenizer:
    files = {field: FOLDER / kind / name for field, name in NAMES.items()}
    return read_files(TokenizerFiles(**{f: p.read_text("utf-8") for f, p in files.items() if p.is_file()}))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def block(tokenizer: PretrainedTokenizer, number: int) -> str:
    texts = [line(place) for place in range(number * BLOCK, (number + 1) * BLOCK)]
    ids = [tokenizer.frame(tokens) for tokens in tokenizer.encode_batch(texts)]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def test_ids_are_those_of_transformers(kind: str):
    expected = json.loads((FOLDER / "ids.json").read_text())[kind]
    assert len(expected) == BLOCKS
    assert block(load(kind), 0) == expected[0]


@pytest.mark.slow
def test_ids_are_those_of_transformers_on_twelve_thousand_lines(kind: str):
    expected = json.loads((FOLDER / "ids.json").read_text())[kind]
    assert [block(load(kind), number) for number in range(BLOCKS)] == expected


def test_text_is_never_read_as_a_control_token(kind: str):
    tokenizer = load(kind)
    silent = {token for name, token in tokenizer.controls.items() if name not in ("[UNK]", "<unk>")}
    assert len(silent) > 2
    for number in range(300):
        text = line(number, marks=True)
        assert not silent & set(tokenizer.encode(text)), text
    for mark in [*MARKS, *tokenizer.controls]:
        for text in (mark, f"a{mark}b", f"a {mark} b", mark * 2, mark + " "):
            assert not silent & set(tokenizer.encode(text)), text


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(), max_size=40), max_size=5))
def test_a_text_has_the_same_tokens_alone_and_in_a_batch(texts: list[str]):
    for tokenizer in (load("uncased"), load("unigram")):
        assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_a_file_that_cuts_and_pads_does_neither_here():
    tokenizer = load("modern")
    assert json.loads(tokenizer.to_json())["truncation"]["max_length"] == 8
    assert len(tokenizer.encode("many words " * 10)) > 8
    assert len(tokenizer.encode("a")) == 1


def test_a_tokenizer_is_written_as_it_was_read(kind: str):
    tokenizer = load(kind)
    again = PretrainedTokenizer.from_json(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert again.fingerprint() == tokenizer.fingerprint()


def test_two_texts_stand_between_the_marks_of_their_family():
    bert, roberta = load("uncased"), load("bytes")
    cls, sep = bert.controls["[CLS]"], bert.controls["[SEP]"]
    assert bert.frame([7, 8], [9]) == [cls, 7, 8, sep, 9, sep]
    assert bert.types([7, 8], [9]) == [0, 0, 0, 0, 1, 1]
    begin, end = roberta.controls["<s>"], roberta.controls["</s>"]
    assert roberta.frame([7], [9]) == [begin, 7, end, end, 9, end]
    assert roberta.types([7], [9]) == [0] * 6
    assert (bert.num_marks, roberta.num_marks) == (2, 2)


def test_each_token_of_words_knows_its_word(kind: str):
    tokens, numbers = load(kind).encode_words(["the", "unbelievable", "\0", "fox"])
    assert len(tokens) == len(numbers)
    assert numbers == sorted(numbers)
    assert {0, 1, 3} <= set(numbers)


def test_capitals_in_a_vocabulary_tell_that_text_is_read_as_it_is():
    cased = read_files(TokenizerFiles(vocab="\n".join([*SMALL, "The"]) + "\n"))
    uncased = read_files(TokenizerFiles(vocab="\n".join(SMALL) + "\n"))
    assert cased.pieces(cased.encode("The cats")) == ["The", "cat", "##s"]
    assert uncased.pieces(uncased.encode("The cats")) == ["the", "cat", "##s"]
    told = read_files(TokenizerFiles(vocab="\n".join(SMALL), config='{"do_lower_case": false}'))
    assert told.pieces(told.encode("The cats"))[0] == "[UNK]"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (TokenizerFiles(), "no tokenizer"),
        (TokenizerFiles(tokenizer="{}"), "not a tokenizer"),
        (TokenizerFiles(tokenizer="[1"), "not a tokenizer"),
        (TokenizerFiles(tokenizer='{"model": {"vocab": 3}, "added_tokens": 7}'), "not a tokenizer"),
        (TokenizerFiles(vocab="the\ncat\n"), "without [CLS], [MASK], [PAD], [SEP], [UNK]"),
        (TokenizerFiles(pieces="{", merges=""), "not JSON"),
        (TokenizerFiles(pieces="[]", merges=""), "not an object"),
    ],
)
def test_what_is_no_tokenizer_is_refused(files: TokenizerFiles, told: str):
    with pytest.raises(ModelError, match=told.replace("[", r"\[")) as caught:
        read_files(files)
    assert caught.value.remedy


def test_lone_surrogates_are_read_as_replacement_characters():
    tokenizer = wordpiece(SMALL, lowercase=True)
    assert tokenizer.encode("the\ud800 cat") == tokenizer.encode("the\ufffd cat")
