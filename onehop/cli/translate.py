"""`onehop translate`: one line out for each line in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onehop.cli.options import AllowDrift, Beam, Device, Ensemble, Long, Precision, Settings, Tag, Threads
from onehop.cli.outputs import fate
from onehop.cli.streams import chunks, opened, written
from onehop.errors import STDIN, ConfigError, DataError

if TYPE_CHECKING:
    from onehop.explain import Alignment
    from onehop.tasks import DecodeConfig, Translation, Translator

Prefix = Annotated[
    str | None, typer.Option("--prefix", help="File that says, line by line, how translations must begin.")
]
Alignments = Annotated[
    bool, typer.Option("--alignments", help="Add which words belong together: 0-0 1-2, source and target.")
]
CHUNK = 2_000  # lines translated at once: enough to batch by length, few enough for constant memory


def translate(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    file: Annotated[str, typer.Argument(help="Text, one line each; - for standard input.")] = "-",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default: standard output.")
    ] = None,
    ensemble: Ensemble = None,
    beam: Beam = None,
    nbest: Annotated[int, typer.Option("--nbest", min=1, help="Candidates for each line, best first.")] = 1,
    sampled: Annotated[bool, typer.Option("--sample", help="Draw translations at random, --nbest of them.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of --sample.")] = None,
    prefix: Prefix = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each line.")] = False,
    alignments: Alignments = False,
    long: Long = "error",
    split: Annotated[bool, typer.Option("--split/--no-split", help="Split paragraphs into sentences.")] = True,
    tag: Tag = "",
    chunk_size: Annotated[int, typer.Option("--chunk-size", min=1, help="Lines read and translated at once.")] = CHUNK,
    settings: Settings = None,
    allow_drift: AllowDrift = False,
    device: Device = "cpu",
    precision: Precision = "float32",
    threads: Threads = None,
) -> None:
    """Translate text, line by line; blank lines stay blank.

    With --nbest, each candidate is a row of the line's number, its score and its text, between tabs, and lines are not
    split. With --long drop, cut or window, standard input is translated while it is read. --alignments adds a last
    column behind a tab.
    """
    from onehop.cli.options import decoding, loaded, policy, use
    from onehop.files import read_lines

    chosen, device = policy(long), use(threads, device)
    if chosen == "window" and nbest > 1:
        remedy = "Leave out --nbest, or use --long drop or cut."
        raise ConfigError("candidates of the windows of a line cannot be combined", remedy, "--nbest")
    translator = loaded(model, ensemble, device, allow_drift, precision)
    decode = decoding(translator.settings.decode, beam, settings, sampled=sampled, seed=seed)
    if nbest > decode.beam_size and not decode.sample:
        decode = decoding(decode, nbest, None)
    if tag:
        translator.source_tokenizer.tag(tag)  # an unknown one is told before the input is read
    if alignments:
        _can_align(translator)
    name = STDIN if file == "-" else file
    prefixes = None if prefix is None else list(read_lines(prefix))
    job = _Job(
        translator, decode, nbest, chosen, split and nbest == 1 and prefixes is None, prefixes, prefix or "", tag
    )
    check = chosen == "error" or prefixes is not None
    with opened(file, name, twice=check) as lines, written(output) as out:
        if check:
            job.check(chunks(lines, name, chunk_size), name)
        for found in job.run(chunks(lines, name, chunk_size), name):
            for number, translation, links in _aligned(translator, found, nbest, alignments):
                out.write(_line(translation, number, nbest, as_json, translator.drift, links))
            out.flush()
    job.tell(split)


class _Job:
    """What is done to every chunk of lines, and what became of them."""

    def __init__(
        self,
        translator: Translator,
        decode: DecodeConfig,
        nbest: int,
        long: Any,
        split: bool,
        prefixes: list[str] | None,
        prefix_file: str,
        tag: str,
    ) -> None:
        from onehop.tasks.fates import Fates

        self.translator, self.decode, self.nbest, self.long, self.split = translator, decode, nbest, long, split
        self.prefixes, self.prefix_file, self.tag = prefixes, prefix_file, tag
        self.fates, self.incomplete = Fates(), 0

    def check(self, chunks: Iterator[list[str]], name: str) -> None:
        """Find a line that is too long, or a prefix that does not fit, before the first output."""
        number = 1
        for chunk in chunks:
            if self.long == "error":
                self.translator.check_lengths(chunk, split=self.split, where=name, first_line=number)
            begins = self._begins(number, len(chunk))
            if begins is not None and len(begins) == len(chunk):
                where = self.prefix_file
                self.translator.prefix_tokens(chunk, begins, self.decode, where=where, first_line=number)
            number += len(chunk)
        if self.prefixes is not None and len(self.prefixes) != number - 1:
            raise DataError(
                f"{len(self.prefixes)} prefixes for {number - 1} lines of {name}",
                "Give one a line; it may be blank.",
                self.prefix_file,
            )

    def run(self, chunks: Iterator[list[str]], name: str) -> Iterator[list[tuple[int, Translation]]]:
        """Yield the translations of each chunk, with the numbers of their lines."""
        number = 1
        for chunk in chunks:
            found = self.translator.translate(
                chunk, self.decode, nbest=self.nbest, prefixes=self._begins(number, len(chunk)), split=self.split,
                long=self.long, where=name, first_line=number, tag=self.tag,
            )  # fmt: skip
            for translation in found:
                self.fates.add(translation)
                self.incomplete += not translation.complete
            yield list(enumerate(found, number))
            number += len(chunk)

    def _begins(self, number: int, count: int) -> list[str] | None:
        """Return the prefixes of these lines, if there are any."""
        return None if self.prefixes is None else self.prefixes[number - 1 : number - 1 + count]

    def tell(self, split: bool) -> None:
        """Say what became of the lines, where it is not what was asked for."""
        from onehop.cli.console import tell

        if self.prefixes is not None and split and self.translator.settings.text.sentences:
            tell("lines were not split into sentences, since each has one prefix")
        for line in self.fates.told("lines", "translated"):
            tell(line)
        if self.incomplete:
            tell(f"{self.incomplete} translations were ended by decode.max_length, or by what the model was trained on")


def _can_align(translator: Translator) -> None:
    """Tell before the input is read that there is nothing to align by."""
    from onehop.explain import alignment_layer

    alignment_layer(translator)


def _aligned(
    translator: Translator, found: list[tuple[int, Translation]], nbest: int, wanted: bool
) -> Iterator[tuple[int, Translation, list[Alignment]]]:
    """Yield each line with its alignment, or those of its candidates if it may have several; none if not wanted."""
    if not wanted:
        yield from ((number, translation, []) for number, translation in found)
        return
    from onehop.explain import align, alternatives

    each = [alternatives(translation) if nbest > 1 else [translation] for _, translation in found]
    links = align(translator, (one for alike in each for one in alike))
    for (number, translation), alike in zip(found, each, strict=True):
        yield number, translation, [next(links) for _ in alike]


def _line(
    found: Translation, number: int, nbest: int, as_json: bool, drift: str, alignments: Sequence[Alignment]
) -> str:
    from onehop.cli.console import flat

    if as_json:
        candidates = [
            [{"text": c.text, "score": round(c.score, 4), "log_prob": round(c.log_prob, 4)} for c in sentence]
            for sentence in found.candidates
        ]
        row = {
            "source": found.source, "translation": found.text, "score": round(found.score, 4),
            "complete": found.complete, **fate(found),
            "sentences": candidates,
            **({"alignments": [asdict(each) for each in alignments]} if alignments else {}),
            **({"drift": drift} if drift else {}),
        }  # fmt: skip
        return json.dumps(row, ensure_ascii=False) + "\n"
    links = [f"\t{each}" for each in alignments]
    if nbest > 1:
        rows = [(c.score, flat(c.text)) for part in found.candidates for c in part] or [(0.0, "")]
        columns = zip(rows, links or [""] * len(rows), strict=True)
        return "".join(f"{number}\t{score:.4f}\t{text}{own}\n" for (score, text), own in columns)
    return "".join([flat(found.text), *links, "\n"])
