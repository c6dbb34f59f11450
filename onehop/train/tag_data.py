"""Tagged sentences for training: read, held out, their labels found, and divided into rows within the limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from onehop.data import Pair, PairStore, Split, hold_out
from onehop.data.labelled import SEPARATOR
from onehop.data.tagged import Sentence, open_tagged
from onehop.errors import DataError
from onehop.metrics.schemes import Scheme, completed, find_scheme, is_legal, mended
from onehop.tasks.fates import by_word
from onehop.tasks.tagging import Tagger
from onehop.tasks.wordwise import as_words, joined_words
from onehop.text import Ledger, limit_words, unread
from onehop.train.choose import Tell, tell_left_out
from onehop.train.parent import Parent
from onehop.train.tag_recipe import TagRecipe

LABELS = 2_000  # more are values, not labels


class TagIds:
    """Encodes the labels of a sentence, joined as its words are, as their ids.

    Args:
        labels: In the order of their ids.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.ids = {label: place for place, label in enumerate(labels)}

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each sentence's labels."""
        return [[self.ids[label] for label in parts(text)] for text in texts]


def parts(text: str) -> list[str]:
    """Return what `joined_words` joined."""
    return text.removesuffix(SEPARATOR).split(SEPARATOR)


def read_data(recipe: TagRecipe, folder: Path, tell: Tell) -> tuple[PairStore, list[Sentence], Split]:
    """Return all sentences of the training files, those for validation, and how they are divided."""
    data = recipe.data
    store = _read(recipe, data.train, folder, tell)
    valid = _read(recipe, data.valid, folder, tell) if data.valid else None
    if valid is not None:
        split, how = Split.of(valid), "from your validation files"
    else:
        split, how = hold_out(store), "held out by hash of the sentence"
    validation = [
        Sentence(tuple(parts(pair.source)), tuple(parts(pair.target)), split.where(place).source)
        for place, pair in enumerate(split.validation)
    ]
    tell(f"data: {len(store) - len(split.held):,} training sentences, {len(validation):,} for validation ({how})")
    if not validation:
        tell("data: too few sentences to hold any out: no validation, and the last model is the one kept")
    tell_left_out(store, valid, "sentences of nothing but empty words", tell)
    return store, validation, split


def _read(recipe: TagRecipe, files: Sequence[str], folder: Path, tell: Tell) -> PairStore:
    store = PairStore(folder)
    for file in files:
        opened = open_tagged(file, recipe.data.columns)
        words, labels = opened.columns
        tell(f"data: {file}: words from column {words!r}, labels from {labels!r}")
        store.add_numbered(map(_numbered, opened.sentences), file)
    if not len(store):
        raise DataError("no sentence with labels", "Check that this is the file you meant.", ", ".join(files))
    return store


def _numbered(sentence: Sentence) -> tuple[int, Pair]:
    line = int(sentence.where.rpartition(":")[2])
    return line, Pair(joined_words(sentence.words), joined_words(sentence.labels))


def find_labels(
    recipe: TagRecipe, pairs: Sequence[Pair], validation: list[Sentence], parent: Parent | None, tell: Tell
) -> tuple[TagRecipe, list[str]]:
    """Return the recipe with the scheme of the labels, and the labels; mend those for validation as the others.

    Raises:
        DataError: There is only one label, or a validation sentence has another.
    """
    where = ", ".join(recipe.data.train)
    rows = [parts(pair.target) for pair in pairs]
    seen = {label for row in rows for label in row}
    theirs = parent.task.settings if parent and parent.task.task == "tag" else None
    scheme: Scheme = recipe.data.scheme or (theirs.scheme if theirs else find_scheme(seen))
    if scheme != "none" and find_scheme(seen) == "none":
        problem = f"labels that are not of the scheme {scheme}: {', '.join(sorted(seen)[:10])}"
        raise DataError(problem, "Leave data.scheme out, or mend them.", where)
    wrong = sum(not is_legal(row, scheme) for row in rows)
    count = Counter(label for row in rows for label in mended(row, scheme))
    labels = list(theirs.labels) if theirs else completed(count, scheme)
    if len(seen) < 2:
        raise DataError(f"one label only, {next(iter(seen), '')!r}: there is nothing to learn", "Name others.", where)
    if len(labels) > LABELS:
        problem = f"{len(labels):,} labels: these are values, not labels"
        raise DataError(problem, "Name the column of labels: data.label_column", where)
    if unknown := sorted(set(count) - set(labels)):
        problem = f"the labels {', '.join(unknown)}, which the model that train.init names does not know"
        raise DataError(problem, f"It knows {', '.join(labels)}. Begin anew without train.init.", where)
    for number, one in enumerate(validation):
        validation[number] = replace(one, labels=tuple(mended(one.labels, scheme)))
        if strange := sorted(set(validation[number].labels) - set(labels)):
            known = f"The training sentences have {', '.join(labels[:20])}."
            raise DataError(f"a sentence for validation has the label {strange[0]!r}", known, one.where)
    _tell_labels(count, scheme, wrong, tell)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"scheme": scheme})}), labels


def _tell_labels(count: Counter[str], scheme: Scheme, wrong: int, tell: Tell) -> None:
    usual, often = count.most_common(1)[0]
    share = 100 * often / count.total()
    what = "labels of single words" if scheme == "none" else f"labels, spans by {scheme.upper()}"
    shown = ", ".join(f"{label} {times:,}" for label, times in count.most_common(10))
    more = ", …" if len(count) > 10 else ""
    tell(f"data: {len(count)} {what} ({shown}{more}); always {usual!r} would be right in {share:.1f} %")
    if wrong:
        done = "; I-X that begins a span is read as B-X" if scheme == "bio" else "; such spans are not counted"
        tell(f"data: warning: {wrong:,} sentences have labels that do not fit {scheme.upper()}{done}")


def divided(
    whole: PairStore, held: set[int], task: Tagger, ledger: Ledger, folder: Path, tell: Tell, scheme: Scheme
) -> PairStore:
    """Return the training sentences as rows within the limit, each a sentence or a window of one.

    Raises:
        LengthError: A sentence is too long, and the ledger's policy is `error`.
        DataError: None is left.
    """
    store = PairStore(folder)
    for blocks in _by_file(whole):
        name = whole.where(whole.numbers(blocks[0]).start).source.rpartition(":")[0]
        store.add_numbered(_rows(whole, blocks, held, task, ledger, scheme), name)
    if summary := ledger.summary():
        tell(summary)
    if not len(store):
        raise DataError(f"no sentence is left to train on; {ledger.summary()}", "Give a larger text.max_length.")
    return store


def limit_labelled(counts: Sequence[int], labels: Sequence[str], ledger: Ledger, where: str) -> list[tuple[int, int]]:
    """Return the parts of a sentence that are used, as `limit_words`; also count under the labels of its words."""
    affected = ledger.affected
    parts = limit_words(counts, ledger, where)
    ledger.enter(by_word(labels, unread(counts, parts, ledger.max_length)), ledger.affected > affected)
    return parts


def _by_file(store: PairStore) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for block in range(store.num_blocks):
        found.setdefault(store.file(block), []).append(block)
    return list(found.values())


def _rows(
    whole: PairStore, blocks: Sequence[int], held: set[int], task: Tagger, ledger: Ledger, scheme: Scheme
) -> Iterator[tuple[int, Pair]]:
    for block in blocks:
        numbers = [number for number in whole.numbers(block) if number not in held]
        pairs = whole.block(block)
        first = whole.numbers(block).start
        sentences = [as_words(pairs[number - first].source, "space") for number in numbers]
        for number, sentence, pieces in zip(numbers, sentences, task.documents.pieces(sentences), strict=True):
            where = whole.where(number).source
            labels = mended(parts(pairs[number - first].target), scheme)
            for start, end in limit_labelled([len(word) for word in pieces], labels, ledger, where):
                pair = Pair(joined_words(sentence.words[start:end]), joined_words(labels[start:end]))
                yield int(where.rpartition(":")[2]), pair
