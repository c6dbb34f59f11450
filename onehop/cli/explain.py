"""`onehop explain`: one offline page that shows where a model looked."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onehop.cli.options import AllowDrift, Beam, Device, Long, Precision, Settings, Tag, Threads
from onehop.cli.streams import chunks, opened
from onehop.errors import STDIN, ConfigError

if TYPE_CHECKING:
    from onehop.explain import Explanation
    from onehop.tasks import DecodeConfig, Translation, Translator

MOST = 1 << 22  # weights of a page: 5.6 MB


def explain(
    model: Annotated[str, typer.Argument(help="A run, a package, or a bundled name.")],
    file: Annotated[str, typer.Argument(help="Text, one line each; - for standard input.")] = "-",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page to write.", show_default=False)
    ] = None,
    lines: Annotated[int, typer.Option("--lines", min=1, help="Lines to show at most.")] = 50,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", help="Attention to show, with * as in file names; may be repeated.")
    ] = None,
    beam: Beam = None,
    long: Long = "error",
    split: Annotated[bool, typer.Option("--split/--no-split", help="Split paragraphs into sentences.")] = True,
    tag: Tag = "",
    settings: Settings = None,
    allow_drift: AllowDrift = False,
    precision: Precision = "float32",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Translate lines and write a page that shows where the model looked for each word it wrote.

    The page needs no network and no other file. It shows the first --lines lines, and no more weights than fit 6 MB.
    """
    from onehop.cli import console
    from onehop.cli.options import decoding, loaded, policy, use
    from onehop.explain import alignment_layer, page
    from onehop.explain.replay import CROSS, check
    from onehop.files import write_text

    if output is None:
        raise ConfigError("no page to write to", "Say where: `-o page.html`.", "--output")
    chosen, device = policy(long), use(threads, device)
    translator = loaded(model, None, device, allow_drift, precision)
    decode = decoding(translator.settings.decode, beam, settings)
    alignment_layer(translator)
    names = layers or list(CROSS)
    check(translator, names)
    name = STDIN if file == "-" else file
    with opened(file, name, twice=False) as opener:
        rows = [line for chunk in chunks(opener, name, lines + 1) for line in islice(chunk, lines + 1)][: lines + 1]
    found = translator.translate(rows[:lines], decode, split=split, long=chosen, where=name, tag=tag)
    shown = _some(translator, found, names)
    note = ""
    if len(shown) < len(found) or len(rows) > lines:
        limit = f"--lines {lines}" if len(shown) == len(found) else "what a page can hold"
        note = f"The first {len(shown)} lines of {name}; the others are left out ({limit})."
        console.tell(note)
    write_text(output, page(shown, model, facts(translator, decode), note))
    console.tell(f"{output}: {len(shown)} lines, {output.stat().st_size / 1e6:.1f} MB")


def _some(translator: Translator, found: list[Translation], layers: list[str]) -> list[Explanation]:
    """Explain lines, one by one, as long as their weights fit a page; at least one."""
    from onehop.explain import explain as explained

    shown: list[Explanation] = []
    taken = 0
    for translation in found:
        [each] = explained(translator, [translation], layers)
        taken += sum(part.weights(name).numel() for part in each.parts for name in part.again.weights)
        if taken > MOST and shown:
            break
        shown.append(each)
    return shown


def facts(translator: Translator, decode: DecodeConfig) -> dict[str, str]:
    """Return what the page tells of a model."""
    from onehop.explain import alignment_layer

    settings = translator.settings
    languages = [code for code in (settings.source_language, settings.target_language) if code]
    search = "sampling" if decode.sample else f"beam {decode.beam_size}" if decode.beam_size > 1 else "greedy"
    return {
        "architecture": settings.architecture,
        "weights": f"{sum(p.numel() for p in translator.reference.model.parameters()):,}",
        **({"languages": " → ".join(languages)} if languages else {}),
        "decoding": search,
        **({"precision": translator.speed.precision} if translator.speed else {}),
        "alignments from": alignment_layer(translator),
    }
