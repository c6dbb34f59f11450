import json
import os
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onehop.errors import ConfigError, DataError, ModelError
from onehop.text import BOS, EOS, LEAST_VOCAB_SIZE, NORMALIZATIONS, PAD, Tokenizer, train_bpe
from onehop.text.probe import PROBES
from onehop.text.vocabulary import RESERVED

PROBE = "\n".join(PROBES.values())

# Written for this test.
LINES = [
    "My neighbour paints old bicycles in 27 colours, and nobody knows why.",
    "The old bicycles shine; my neighbour doesn't ride them!",
    "Mein Nachbar streicht alte Fahrräder in 27 Farben, und niemand weiß, warum.",
    "Die alten Fahrräder glänzen, aber mein Nachbar fährt nicht.",
    "我的邻居喜欢旧自行车。旧自行车很漂亮，邻居很高兴。",
    "となりの人は古い自転車が好きです。自転車はきれいです。",
    "เพื่อนบ้านของฉันชอบจักรยานเก่า จักรยานเก่าสวยมาก",
    "جاري يحب الدراجات القديمة، والدراجات القديمة جميلة.",
    "Write </s> or <s> or <pad> or <0x41> as you like: </s> <0x41>.",
] * 4

HOSTILE = [
    "",
    " ",
    "  two  spaces  ",
    "\ttab first",
    "line\nends\r\nof\rall\u2028kinds\x85",
    "NUL \0 inside \0\0",
    "\ufeffmark",
    "\ud800",
    " \udfff b",
    "a\ud800b \ud83d\ude00 c\udc00",
    "\ud800 x",
    "\u2581low\u2581line",
    "</s>",
    "<0x41><s> <pad>",
    "\uffff\ufdd0\U0010ffff",
    "e\u0301 \u0301lone \ufb01 \u00bd \uff21 \u00a0 \u3000",
    "שלום עולם \u202eback\u202c",
    "👩‍👩‍👧 👍🏽",
    "a" * 100_000,
    "字" * 100_000,
    "e\u0301" * 50_000,
    " " * 100_000,
    "=" * 100_000,
    PROBE,
]

texts = st.text(st.characters(exclude_categories=[]))


@pytest.fixture(scope="module", params=NORMALIZATIONS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_bpe(LINES, 600, normalization=request.param)


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    return train_bpe(LINES, 600, normalization="none")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_decoding_gives_back_any_hostile_text(tokenizer: Tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text)


@given(text=texts)
@example(text=" \ud800")
@settings(deadline=None, max_examples=200)
def test_decoding_gives_back_any_text(tokenizer: Tokenizer, text: str):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == tokenizer.normalise(text)
    assert all(EOS < token < tokenizer.vocab_size for token in tokens)


@given(text=texts)
@settings(deadline=None, max_examples=200)
def test_without_normalisation_a_text_comes_back_as_it_was(plain: Tokenizer, text: str):
    assert plain.normalise(text) == text
    assert plain.decode(plain.encode(text)) == text


@given(batch=st.lists(texts, max_size=5))
@settings(deadline=None, max_examples=100)
def test_a_batch_is_encoded_as_its_texts_one_by_one(tokenizer: Tokenizer, batch: list[str]):
    assert tokenizer.encode_batch(batch) == [tokenizer.encode(text) for text in batch]


def test_a_batch_of_hostile_texts_is_encoded_as_one_by_one(tokenizer: Tokenizer):
    clean = [text for text in HOSTILE if text.isprintable()]
    for batch in (clean, HOSTILE):
        assert tokenizer.encode_batch(batch) == [tokenizer.encode(text) for text in batch]


def test_normal_forms_are_those_of_unicode():
    text = "e\u0301 \ufb01"
    forms = {form: train_bpe(LINES, 300, normalization=form).normalise(text) for form in NORMALIZATIONS}
    assert forms == {"none": text, "nfc": "é \ufb01", "nfkc": "é fi"}


@pytest.mark.parametrize("text", ["</s>", "<s>", "<pad>", "<0x41>", "<s></s>", "</s> <0x41>"])
def test_text_is_never_read_as_a_control_or_a_byte(plain: Tokenizer, text: str):
    pieces = plain.pieces(plain.encode(text))
    assert "".join(pieces) == " " + text  # every character is in the alphabet: no byte pieces
    assert not set(pieces) & set(RESERVED)


def test_no_learnt_piece_is_named_like_a_control_or_a_byte():
    lines = ["</s><s><pad><0x41>" * 3, "</s> <s> <pad> <0x41> <0xFF>"] * 100
    tokenizer = train_bpe(lines, 1000)
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    assert " </" in pieces
    assert len(set(pieces)) == len(pieces)
    assert tuple(pieces[: len(RESERVED)]) == RESERVED


def test_control_tokens_are_skipped_in_decoding(plain: Tokenizer):
    tokens = plain.encode("old bicycles")
    assert plain.decode([BOS, *tokens, EOS, PAD, PAD]) == "old bicycles"
    assert plain.pieces([PAD, BOS, EOS]) == ["<pad>", "<s>", "</s>"]


def test_ids_are_controls_bytes_alphabet_by_frequency_then_merges():
    tokenizer = train_bpe(["bab bab aab ab"] * 3, LEAST_VOCAB_SIZE)
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    assert pieces[:5] == ["<pad>", "<s>", "</s>", "<0x00>", "<0x01>"]
    assert pieces[258] == "<0xFF>"
    assert pieces[259:262] == ["b", "a", " "]  # 6, 5 and 4 a line
    assert pieces[262] == "ab"


def test_bytes_that_are_not_utf8_become_replacement_characters(plain: Tokenizer):
    assert plain.decode([3 + 0xE4, 3 + 0xBD]) == "\ufffd"
    assert plain.decode([3 + 0x41, 3 + 0xFF, 3 + 0x42]) == "A\ufffdB"


@pytest.mark.parametrize("token", [-100, -1, 10**6])
def test_a_token_outside_the_vocabulary_is_an_error(plain: Tokenizer, token: int):
    with pytest.raises(KeyError):
        plain.decode([token])
    with pytest.raises(KeyError):
        plain.pieces([token])


def test_unseen_characters_are_their_utf8_bytes(plain: Tokenizer):
    assert plain.pieces(plain.encode("ж"))[-2:] == ["<0xD0>", "<0xB6>"]
    assert plain.pieces(plain.encode("\udc80"))[-3:] == ["<0xED>", "<0xB2>", "<0x80>"]


@pytest.mark.parametrize("line", LINES[4:7])
def test_scripts_without_spaces_get_pieces_of_several_characters(line: str):
    tokenizer = train_bpe([line] * 2 + LINES, 600)
    assert any(len(piece.strip()) > 1 for piece in tokenizer.pieces(tokenizer.encode(line)))
    assert len(tokenizer.encode(line)) < len(line)


def test_digits_stay_apart(plain: Tokenizer):
    assert plain.pieces(plain.encode("in 27")) == [" in", " 2", "7"]


def test_json_round_trip_is_byte_equal_and_encodes_alike(tokenizer: Tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert again.normalization == tokenizer.normalization
    assert again.vocab_size == tokenizer.vocab_size
    assert again.fingerprint() == tokenizer.fingerprint()
    assert again.encode_batch(HOSTILE) == tokenizer.encode_batch(HOSTILE)


def test_the_tokenizers_library_reads_the_json_and_encodes_and_decodes_alike(tokenizer: Tokenizer):
    foreign = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    for text in [*LINES, PROBE, "", " ", "\0"]:
        tokens = foreign.encode(text).ids
        assert tokens == tokenizer.encode(text)
        assert foreign.decode(tokens, skip_special_tokens=False) == tokenizer.normalise(text)


def test_fingerprints_differ_where_the_tokens_differ(plain: Tokenizer):
    assert plain.fingerprint() != train_bpe(LINES[:4] * 2, 600, normalization="none").fingerprint()


def _changed(plain: Tokenizer, change: str) -> str:
    data = json.loads(plain.to_json())
    model = data["model"]
    if change == "no controls":
        model["vocab"] = {piece.replace("<s>", "[CLS]"): token for piece, token in model["vocab"].items()}
    elif change == "an added token":
        data["added_tokens"] = [
            {"id": 2, "content": "</s>", "single_word": False, "lstrip": False}
            | {"rstrip": False, "normalized": False, "special": True}
        ]
    elif change == "another normaliser":
        data["normalizer"]["normalizers"].insert(0, {"type": "Lowercase"})
    elif change == "other words":
        data["pre_tokenizer"]["behavior"] = "Removed"
    elif change == "no byte fallback":
        model["byte_fallback"] = False
    elif change == "a gap in the ids":
        model["vocab"]["one more"] = len(model["vocab"]) + 5
    elif change == "a merge that makes a byte":
        model["vocab"]["0x41>"] = len(model["vocab"])
        model["merges"].append(["<", "0x41>"])
    elif change == "a merge of unknown pieces":
        model["merges"].append(["no such", "piece"])
    return json.dumps(data)


@pytest.mark.parametrize(
    "change",
    [
        "no controls",
        "an added token",
        "another normaliser",
        "other words",
        "no byte fallback",
        "a gap in the ids",
        "a merge that makes a byte",
        "a merge of unknown pieces",
    ],
)
def test_a_tokenizer_of_another_kind_is_refused_with_a_remedy(plain: Tokenizer, change: str):
    with pytest.raises(ModelError) as caught:
        Tokenizer.from_json(_changed(plain, change))
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "\0", '{"model": 3}', "\ud800", "not json"])
def test_garbage_is_refused_with_a_remedy(text: str):
    with pytest.raises(ModelError) as caught:
        Tokenizer.from_json(text)
    assert caught.value.remedy


def test_a_truncated_json_is_refused(plain: Tokenizer):
    with pytest.raises(ModelError):
        Tokenizer.from_json(plain.to_json()[:-20])


def test_fields_that_a_later_library_adds_do_not_make_old_files_unreadable(plain: Tokenizer):
    data = json.loads(plain.to_json())
    del data["model"]["ignore_merges"]
    assert Tokenizer.from_json(json.dumps(data)).to_json() == plain.to_json()


def test_training_gives_the_same_bytes_in_any_process():
    script = (
        "import sys; from onehop.text import train_bpe\n"
        "lines = sys.stdin.buffer.read().decode().split('\\n')\n"
        "sys.stdout.buffer.write(train_bpe(lines, 900, coverage=0.98).to_json().encode())"
    )
    text = "\n".join([*LINES, PROBE, *(chr(0x4E00 + i % 700) + chr(0x430 + i % 30) for i in range(3000))])

    def train(seed: str, threads: str) -> bytes:
        env = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", script]
        return subprocess.run(command, input=text.encode(), env=env, capture_output=True, check=True).stdout

    first, second = train("1", "1"), train("2", "2")
    assert first == second
    assert len(json.loads(first)["model"]["merges"]) > 50


def test_the_order_of_equal_lines_does_not_matter_and_an_iterator_will_do(plain: Tokenizer):
    assert train_bpe(iter(LINES[::-1]), 600, normalization="none").to_json() == plain.to_json()


def test_the_vocabulary_is_as_large_as_asked_or_smaller_where_the_text_gives_no_more():
    assert train_bpe(LINES, 500).vocab_size == 500
    assert train_bpe(["low"], 8000).vocab_size == len([*RESERVED, *" low"])


def test_coverage_leaves_rare_characters_to_their_bytes():
    lines = ["aaaa bbbb"] * 1000 + ["aqz"]
    full, most = (train_bpe(lines, 400, coverage=share) for share in (1.0, 0.999))
    assert full.pieces(full.encode("q")) == [" ", "q"]
    assert most.pieces(most.encode("q")) == [" ", "<0x71>"]


def test_no_merge_is_learnt_across_a_character_outside_the_alphabet():
    lines = ["ab " * 500] + [f"x{rare}y" for rare in "äöüßéèàùçñ" * 3]
    tokenizer = train_bpe(lines, LEAST_VOCAB_SIZE, coverage=0.98)
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    assert {"x", "y"} <= set(pieces)
    assert "ä" not in pieces
    assert " x" in pieces
    assert not any("xy" in piece for piece in pieces)


def test_the_alphabet_leaves_half_of_the_room_to_merges():
    lines = ["".join(chr(0x4E00 + i) for i in range(2000)), "ab ab ab ab " * 20]
    tokenizer = train_bpe(lines, LEAST_VOCAB_SIZE, coverage=1)
    pieces = tokenizer.pieces(range(len(RESERVED), tokenizer.vocab_size))
    assert sum(len(piece) == 1 for piece in pieces) == (LEAST_VOCAB_SIZE - len(RESERVED)) // 2
    assert " ab" in pieces


def test_one_repeated_character_does_not_fill_the_vocabulary():
    tokenizer = train_bpe(["=" * 100_000, *LINES], 700)
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    assert 0 < sum("==" in piece for piece in pieces) <= 12
    assert max(map(len, pieces)) <= 24


@pytest.mark.parametrize("lines", [[], [""], ["", ""], ["  ", "\t\u3000"], ["\0", "\ud800"]])
def test_no_text_is_an_error_with_a_remedy(lines: list[str]):
    with pytest.raises(DataError) as caught:
        train_bpe(lines, 1000)
    assert caught.value.remedy


def test_hostile_lines_can_be_trained_on():
    tokenizer = train_bpe(HOSTILE, 500)
    assert tokenizer.decode(tokenizer.encode(PROBE)) == tokenizer.normalise(PROBE)


def test_too_small_a_vocabulary_names_the_least_size():
    with pytest.raises(ConfigError, match=str(LEAST_VOCAB_SIZE)):
        train_bpe(LINES, LEAST_VOCAB_SIZE - 1)
    assert train_bpe(LINES, LEAST_VOCAB_SIZE).vocab_size == LEAST_VOCAB_SIZE


def test_an_unknown_normal_form_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'nfc'"):
        train_bpe(LINES, 500, normalization="nfcc")


@pytest.mark.parametrize("coverage", [0, -1, 1.5, float("nan")])
def test_coverage_is_a_share(coverage: float):
    with pytest.raises(ConfigError, match="coverage"):
        train_bpe(LINES, 500, coverage=coverage)


def test_what_is_learnt_is_normalised_first():
    composed, decomposed = (train_bpe([text] * 4, 400) for text in ("thé café", "the\u0301 cafe\u0301"))
    assert composed.to_json() == decomposed.to_json()
    assert "é" in composed.pieces(range(len(RESERVED), composed.vocab_size))
