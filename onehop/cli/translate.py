"""`onehop translate`: one line out for each line in."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from onehop.cli.options import Beam, Device, Long, Settings, Threads

if TYPE_CHECKING:
    from onehop.tasks import Translation, Translator

CHUNK = 2_000  # lines translated at once: enough to batch by length, few enough for constant memory


def translate(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    file: Annotated[str, typer.Argument(help="Text, one line each; - for standard input.")] = "-",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default: standard output.")
    ] = None,
    beam: Beam = None,
    nbest: Annotated[int, typer.Option("--nbest", min=1, help="Candidates for each line, best first.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each line.")] = False,
    long: Long = "error",
    split: Annotated[bool, typer.Option("--split/--no-split", help="Split paragraphs into sentences.")] = True,
    settings: Settings = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Translate text, line by line; blank lines stay blank.

    With --nbest, candidates of a line follow each other as SCORE, a tab, and the text, and lines are not split.
    """
    from onehop.cli import console
    from onehop.cli.options import decoding, policy, use
    from onehop.tasks import load_translator

    chosen, device = policy(long), use(threads, device)
    translator = load_translator(model)
    translator.model.to(device)
    decode = decoding(translator.settings.decode, beam, settings)
    if nbest > decode.beam_size:
        decode = decoding(decode, nbest, None)
    counts = {"dropped": 0, "cut": 0, "incomplete": 0}
    name = "standard input" if file == "-" else file
    with _input(file, name) as lines, _output(output) as out:
        if chosen == "error":
            _check(translator, lines, split and nbest == 1, name)
        number = 1
        for chunk in _chunks(lines, name):
            found = translator.translate(
                chunk,
                decode,
                nbest=nbest,
                split=split and nbest == 1,
                long=chosen,
                where=name,
                first_line=number,
            )
            number += len(chunk)
            for translation in found:
                counts["dropped"] += translation.dropped
                counts["cut"] += translation.cut > 0
                counts["incomplete"] += not translation.complete
                out.write(_line(translation, nbest, as_json))
            out.flush()
    if counts["dropped"]:
        console.tell(f"{counts['dropped']} lines were too long and left out: their translations are empty")
    if counts["cut"]:
        console.tell(f"{counts['cut']} lines were too long and cut: their ends were not translated")
    if counts["incomplete"]:
        console.tell(
            f"{counts['incomplete']} translations were ended by decode.max_length, or by what the model was trained on"
        )


def _check(translator: Translator, lines: Opener, split: bool, name: str) -> None:
    """Find a line that is too long before the first output."""
    number = 1
    for chunk in _chunks(lines, name):
        translator.check_lengths(chunk, split=split, where=name, first_line=number)
        number += len(chunk)


Opener = Callable[[], AbstractContextManager[IO[bytes]]]


@contextmanager
def _input(file: str, name: str) -> Generator[Opener]:
    """Yield a way to open the input again and again; what can be read but once, such as a pipe, is spooled."""
    from onehop.files import open_bytes, os_errors

    if file != "-" and (Path(file).is_file() or not Path(file).exists()):
        yield lambda: open_bytes(file)
        return
    with tempfile.SpooledTemporaryFile(max_size=1 << 26) as spool:

        def rewound() -> AbstractContextManager[IO[bytes]]:
            spool.seek(0)
            return nullcontext(cast("IO[bytes]", spool))

        with os_errors(name, "read"), nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as stream:
            shutil.copyfileobj(stream, spool, 1 << 20)
        yield rewound


def _chunks(opener: Opener, name: str) -> Iterator[list[str]]:
    from onehop.files import decode_lines, os_errors

    with os_errors(name, "read"), opener() as stream:
        lines = decode_lines(stream, name)
        while chunk := list(islice(lines, CHUNK)):
            yield chunk


def _output(path: Path | None) -> Any:
    from onehop.cli import console
    from onehop.files import new_text

    return nullcontext(console.stdout()) if path is None else new_text(path)


def _line(found: Translation, nbest: int, as_json: bool) -> str:
    from onehop.cli.console import flat

    if as_json:
        candidates = [
            [{"text": c.text, "score": round(c.score, 4), "log_prob": round(c.log_prob, 4)} for c in sentence]
            for sentence in found.candidates
        ]
        row = {
            "source": found.source, "translation": found.text, "score": round(found.score, 4),
            "complete": found.complete, "dropped": found.dropped, "cut": found.cut, "sentences": candidates,
        }  # fmt: skip
        return json.dumps(row, ensure_ascii=False) + "\n"
    if nbest > 1:
        return "".join(f"{c.score:.4f}\t{flat(c.text)}\n" for part in found.candidates for c in part) or "\n"
    return flat(found.text) + "\n"
