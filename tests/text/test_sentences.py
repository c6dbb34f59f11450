import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onehop.text import gaps, join_sentences, split_sentences

parts = st.sampled_from(
    [
        *"abA .!?。\n\r\t\"'()「」“”…;:1।\0\x85\u2028\u2029\u3000\xa0\ud800",
        "Dr.",
        "z. B.",
        "e.g. ",
        "No. ",
        "👍🏽",
        "שלום",
        "؟",
    ]
)
LANGUAGES = ["en", "de", "zh", "ja", "th", "ar", "zh-Hans", "pt_BR", "no such language", ""]


@given(text=st.lists(parts, max_size=30).map("".join) | st.text(), language=st.sampled_from(LANGUAGES))
@example(text="e.g. A\x85.", language="en")
@example(text="A\u3000.:?", language="hi")
@settings(deadline=None, max_examples=400)
def test_sentences_with_the_white_space_between_them_give_back_the_text(text: str, language: str):
    sentences = split_sentences(text, language)
    between = gaps(text, sentences)
    rebuilt = "".join(part for pair in zip(sentences, [*between, ""], strict=False) for part in pair)
    assert rebuilt == text.strip()
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)
    assert not "".join(between).strip()


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("en", "Dr. Smith came in.  He sat down!", ["Dr. Smith came in.", "He sat down!"]),
        ("de", "Obst, z. B. Äpfel, ist da. Greif zu!", ["Obst, z. B. Äpfel, ist da.", "Greif zu!"]),
        ("de", "Am 3. Mai kam sie. Dann ging sie.", ["Am 3. Mai kam sie.", "Dann ging sie."]),
        ("zh", "你好。今天下雨吗？下雨！", ["你好。", "今天下雨吗？", "下雨！"]),
        ("ja", "雨です。傘がありますか？", ["雨です。", "傘がありますか？"]),
        ("en", "Title\n\nIt rains. We stay.", ["Title", "It rains.", "We stay."]),
    ],
)
def test_sentences_end_where_readers_say_they_do(language: str, text: str, sentences: list[str]):
    assert split_sentences(text, language) == sentences


@pytest.mark.parametrize("text", ["no end here", "x" * 100_000, "word " * 20_000 + "end", "สวัสดีชาวโลก"])
def test_a_text_without_sentence_ends_is_one_sentence(text: str):
    assert split_sentences(text) == [text]


@pytest.mark.parametrize("text", ["", " ", "\n\n \t\u3000\x85"])
def test_a_text_of_white_space_has_no_sentence_and_joins_to_nothing(text: str):
    assert split_sentences(text) == []
    assert gaps(text, []) == []
    assert join_sentences([], []) == ""


@pytest.mark.parametrize("language", ["zh", "ja", "th", "zh-Hans", "ZH_cn"])
def test_no_space_stands_between_sentences_of_scripts_without_spaces(language: str):
    assert join_sentences(["一。", "二。", "三。"], [" ", ""], language) == "一。二。三。"


def test_one_space_stands_between_sentences_of_other_languages():
    assert join_sentences(["One.", "Two.", "Three."], ["", "   "], "de") == "One. Two. Three."


def test_repeated_sentences_have_their_own_gaps():
    text = "Go! Go!\n\nGo!"
    sentences = split_sentences(text)
    assert gaps(text, sentences) == [" ", "\n\n"]
    assert join_sentences(sentences, gaps(text, sentences)) == text


def test_a_translation_too_few_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        join_sentences(["One."], [" "])


def test_importing_the_package_does_not_load_the_splitter_or_torch():
    script = "import sys, onehop.text; print(sorted({'sentencex', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
