"""Sentences of a paragraph, so that a model trained on sentences can translate longer text.

The rules and the abbreviations of many languages are those of the `sentencex` library; a language it does not
know is split by the English rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Written without a space between sentences.
UNSPACED = ("ja", "km", "lo", "my", "th", "yue", "zh")

# sentencex 1.0.32 panics at some white space that takes more than one byte, and takes no lone surrogates.
_SPACES = re.compile("[^\\S\x00-\x7f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def split_sentences(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text in order, without the white space around them; none is empty.

    Only white space is left out: the sentences with the white space between them give back the text. A text
    without sentence ends is one sentence, a text of white space has none.

    Args:
        text: Any text; a single line end does not end a sentence, an empty line does.
        language: Code such as `de` or `zh-Hans`.

    Example:
        >>> split_sentences("Dr. Smith came in. He sat down.")
        ['Dr. Smith came in.', 'He sat down.']
    """
    from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

    plain = _SURROGATES.sub("\ufffd", _SPACES.sub(" ", text))
    sentences: list[str] = []
    start = 0
    for part in segment(_base(language), plain):
        sentence = text[start : start + len(part)].strip()
        start += len(part)
        if sentence:
            sentences.append(sentence)
    return sentences


def gaps(text: str, sentences: Sequence[str]) -> list[str]:
    """Return the white space between the sentences that `split_sentences` found, one fewer than those.

    Example:
        >>> gaps("One.  Two.", ["One.", "Two."])
        ['  ']
    """
    places: list[tuple[int, int]] = []
    end = 0
    for sentence in sentences:
        start = text.index(sentence, end)
        places.append((end, start))
        end = start + len(sentence)
    return [text[end:start] for end, start in places[1:]]


def join_sentences(sentences: Sequence[str], between: Sequence[str], language: str = "en") -> str:
    r"""Join translated sentences into a text, as their language is written.

    Line ends between the sentences of the source are kept; any other gap becomes one space, or nothing in
    Chinese, Japanese, Thai and other scripts without spaces.

    Args:
        sentences: The translations, one for each sentence of the source.
        between: The white space between the source's sentences, from `gaps`.
        language: Code of the language of the translations.

    Example:
        >>> join_sentences(["Eins.", "Zwei.", "Drei."], between=["  ", "\n\n"], language="de")
        'Eins. Zwei.\n\nDrei.'
    """
    space = "" if _base(language) in UNSPACED else " "
    joints = [gap if "\n" in gap else space for gap in between]
    rest = (joint + sentence for joint, sentence in zip(joints, sentences[1:], strict=True))
    return "".join([*sentences[:1], *rest])


def _base(language: str) -> str:
    return re.split("[-_]", language, maxsplit=1)[0].lower()
