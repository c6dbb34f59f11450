"""What holds of every vocabulary, by whichever algorithm it was learnt."""

import json
import math
import os
import random
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onehop.errors import ConfigError, DataError, ModelError
from onehop.text import (
    ALGORITHMS,
    EOS,
    LEAST_VOCAB_SIZE,
    NORMALIZATIONS,
    Tokenizer,
    train_bpe,
    train_tokenizer,
    train_unigram,
    train_wordpiece,
)
from onehop.text.vocabulary import RESERVED
from tests.text.test_tokenizer import HOSTILE, LINES, PROBE

TAGS = ("news", "talk")
NAMES = ["</s>", "<s>", "<pad>", "<0x41>", "<tag:news>", "##", "##s", "[UNK]", "\u2581", "Ġ", "\0", "\ud800", "\ude00"]
STRANGE = [" ", "  ", "\t", "שלום", "\u202e", "👩‍👩‍👧", "e\u0301", "ﬁ"]

texts = st.one_of(
    st.text(st.characters(exclude_categories=[])),
    st.lists(st.sampled_from([*NAMES, *LINES, " ", "  ", "\t", "שלום", "\u202e", "👩‍👩‍👧", "e\u0301", "ﬁ"])).map(
        "".join
    ),
)


@pytest.fixture(scope="module", params=[(a, form) for a in ALGORITHMS for form in NORMALIZATIONS])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(LINES, 600, request.param[0], request.param[1], tags=TAGS)


@pytest.fixture(scope="module", params=ALGORITHMS)
def plain(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(LINES, 600, request.param, "none", tags=TAGS)


@given(text=texts)
@example(text=" \ud800")
@settings(deadline=None, max_examples=150)
def test_decoding_gives_back_any_text_and_no_text_makes_a_control_or_tag(tokenizer: Tokenizer, text: str):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == tokenizer.normalise(text)
    assert all(EOS < token < tokenizer.vocab_size for token in tokens)
    assert not {tokenizer.tag(name) for name in TAGS} & set(tokens)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_decoding_gives_back_any_hostile_text(plain: Tokenizer, text: str):
    assert plain.decode(plain.encode(text)) == text


@given(batch=st.lists(texts, max_size=4))
@settings(deadline=None, max_examples=50)
def test_a_batch_is_encoded_as_its_texts_one_by_one(plain: Tokenizer, batch: list[str]):
    assert plain.encode_batch(batch) == [plain.encode(text) for text in batch]


def test_a_character_outside_the_alphabet_is_its_bytes_and_leaves_its_word_alone(plain: Tokenizer):
    assert plain.pieces(plain.encode("oldж old"))[-4:] == [" old", "<0xD0>", "<0xB6>", " old"]


def test_the_pieces_of_a_text_are_the_text(plain: Tokenizer):
    for line in LINES:
        assert "".join(plain.pieces(plain.encode(line))) == " " + line


def test_ids_are_controls_bytes_tags_alphabet_then_longer_pieces(plain: Tokenizer):
    pieces = plain.pieces(range(plain.vocab_size))
    learnt = pieces[len(RESERVED) + len(TAGS) :]
    assert tuple(pieces[: len(RESERVED)]) == RESERVED
    assert pieces[len(RESERVED) : len(RESERVED) + 2] == ["<tag:news>", "<tag:talk>"]
    assert [len(piece) > 1 for piece in learnt] == sorted(len(piece) > 1 for piece in learnt)
    assert learnt[0] == " "
    assert len(set(pieces)) == len(pieces)


def test_json_round_trip_is_byte_equal_and_encodes_alike(tokenizer: Tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert (again.algorithm, again.tags) == (tokenizer.algorithm, TAGS)
    assert again.pieces(range(again.vocab_size)) == tokenizer.pieces(range(tokenizer.vocab_size))
    short = [text[:1000] for text in HOSTILE]
    assert again.encode_batch(short) == tokenizer.encode_batch(short)


def test_the_tokenizers_library_reads_the_json_and_encodes_and_decodes_alike(tokenizer: Tokenizer):
    foreign = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    for text in [*LINES, PROBE, "", " ", "\0", "<0x41>ж", "  x  "]:
        tokens = foreign.encode(text).ids
        assert tokens == tokenizer.encode(text)
        assert foreign.decode(tokens, skip_special_tokens=False) == tokenizer.normalise(text)


def test_training_gives_the_same_bytes_in_any_process_with_any_number_of_threads():
    draw = random.Random(4)
    made = ["".join(draw.choices("abcdefgh", k=draw.randint(2, 9))) for _ in range(400)]
    lines = [*LINES, *(" ".join(draw.choices(made, k=6)) for _ in range(300))]
    script = (
        "import sys; from onehop.text import ALGORITHMS, train_tokenizer\n"
        "lines = sys.stdin.buffer.read().decode().split('\\n')\n"
        "for name in ALGORITHMS: sys.stdout.buffer.write(train_tokenizer(lines, 900, name).to_json().encode())"
    )

    def train(seed: str, threads: str, lines: list[str]) -> bytes:
        env = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", script]
        return subprocess.run(command, input="\n".join(lines).encode(), env=env, capture_output=True, check=True).stdout

    first = train("1", "1", lines)
    assert first == train("2", "2", lines)
    assert first == train("3", "4", draw.sample(lines, len(lines)))  # the order of lines does not matter
    kinds = [json.loads(line)["model"]["type"] for line in first.decode().splitlines()]
    assert kinds == ["BPE", "Unigram", "WordPiece"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_vocabulary_is_as_large_as_asked_or_smaller_where_the_text_gives_no_more(algorithm: str):
    for size in (LEAST_VOCAB_SIZE, 301, 500):
        assert train_tokenizer(LINES, size, algorithm).vocab_size == size
    assert train_tokenizer(["low"], 8000, algorithm).vocab_size == len([*RESERVED, *" low"])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("lines", [[], [""], ["  ", "\t\u3000"], ["\0", "\ud800"]])
def test_no_text_is_an_error_with_a_remedy(algorithm: str, lines: list[str]):
    with pytest.raises(DataError) as caught:
        train_tokenizer(lines, 1000, algorithm)
    assert caught.value.remedy


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hostile_lines_can_be_trained_on(algorithm: str):
    tokenizer = train_tokenizer(HOSTILE, 500, algorithm)
    assert tokenizer.decode(tokenizer.encode(PROBE)) == tokenizer.normalise(PROBE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_piece_is_longer_than_24_characters_or_crosses_one_outside_the_alphabet(algorithm: str):
    lines = ["=" * 10_000, "ab " * 500, *(f"x{rare}y" for rare in "äöüßéèàùçñ" * 3)]
    tokenizer = train_tokenizer(lines, 330, algorithm, coverage=0.997)
    pieces = tokenizer.pieces(range(len(RESERVED), tokenizer.vocab_size))
    assert max(map(len, pieces)) <= 24
    assert "ä" not in pieces
    assert not any("xy" in piece for piece in pieces)


def test_each_algorithm_has_a_function_of_its_name():
    for train, name in ((train_bpe, "bpe"), (train_unigram, "unigram"), (train_wordpiece, "wordpiece")):
        tokenizer = train(LINES, 400, "nfkc", 0.99, TAGS)
        assert tokenizer.algorithm == name
        assert tokenizer.to_json() == train_tokenizer(LINES, 400, name, "nfkc", 0.99, TAGS).to_json()


def test_an_unknown_algorithm_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'wordpiece'"):
        train_tokenizer(LINES, 400, "word-piece")


def test_wordpiece_takes_the_longest_piece_that_fits_first():
    tokenizer = train_wordpiece(LINES, 600, "none")
    known = set(tokenizer.pieces(range(len(RESERVED), tokenizer.vocab_size)))
    for word in {word for line in LINES for word in line.split() if word.isalpha()}:
        rest, expected = " " + word, list[str]()
        while rest:
            size = next(n for n in range(len(rest), 0, -1) if rest[:n] in known)
            expected.append(rest[:size])
            rest = rest[size:]
        assert tokenizer.pieces(tokenizer.encode(word)) == expected


def _cuts(word: str, scores: dict[str, float]) -> list[tuple[float, list[str]]]:
    if not word:
        return [(0.0, [])]
    heads = [word[:n] for n in range(1, len(word) + 1) if word[:n] in scores]
    return [(scores[head] + rest, [head, *cut]) for head in heads for rest, cut in _cuts(word[len(head) :], scores)]


def test_unigram_takes_the_likeliest_of_all_ways_to_cut_a_word():
    tokenizer = train_unigram(LINES, 600, "none")
    scores = dict(json.loads(tokenizer.to_json())["model"]["vocab"][len(RESERVED) :])
    for word in {word for line in LINES[:4] for word in line.split() if word.isalpha()}:
        best, cut = max(_cuts(" " + word, scores))
        found = tokenizer.pieces(tokenizer.encode(word))
        assert sum(scores[piece] for piece in found) == pytest.approx(best)
        assert "".join(found) == "".join(cut)


def test_the_probabilities_of_unigram_pieces_sum_to_one():
    vocab = json.loads(train_unigram(LINES, 600).to_json())["model"]["vocab"]
    assert math.fsum(math.exp(score) for _, score in vocab[len(RESERVED) :]) == pytest.approx(1, abs=1e-4)


def test_unigram_pieces_make_a_training_text_likelier_than_single_characters_do():
    tokenizer = train_unigram(LINES, 600, "none")
    assert sum(map(len, tokenizer.encode_batch(LINES))) < sum(map(len, LINES)) / 2


@pytest.mark.parametrize("change", ["a piece twice", "an empty piece", "another kind", "a score that is no number"])
def test_a_damaged_unigram_or_wordpiece_json_is_refused_with_a_remedy(change: str):
    data = json.loads(train_unigram(LINES, 400).to_json())
    vocab = data["model"]["vocab"]
    if change == "a piece twice":
        vocab.append(vocab[-1])
    elif change == "an empty piece":
        vocab.append(["", -3.0])
    elif change == "another kind":
        data["model"]["type"] = "WordLevel"
    else:
        vocab[-1][1] = float("nan")
    with pytest.raises(ModelError) as caught:
        Tokenizer.from_json(json.dumps(data))
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["ж", "Ã", "<0x41>"])
def test_a_wordpiece_piece_that_is_no_text_or_a_byte_is_refused(name: str):
    data = json.loads(train_wordpiece(LINES, 400).to_json())
    data["model"]["vocab"][name] = len(data["model"]["vocab"])
    with pytest.raises(ModelError):
        Tokenizer.from_json(json.dumps(data))
