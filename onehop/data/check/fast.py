"""The part of the doctor that every training can afford: a bounded sample of the pairs that were read."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.data.check.doctor import examined
from onehop.data.check.finding import Finding, Report, judge, ordered
from onehop.data.check.inputs import Chunk
from onehop.data.pair import Pair
from onehop.data.store import PairStore

MOST = 16_384  # pairs that are looked at
PARTS = 64  # stretches that they are taken from
TOLD = 1e-3  # share of the pairs from which a warning is told


def check_store(store: PairStore, validation: list[Pair]) -> Report:
    """Look at stretches of the pairs, evenly spread, and at what training and validation share.

    Args:
        store: What is trained on.
        validation: What validates, where the user named it; empty where it was held out, which shares nothing.

    Example:
        >>> store = PairStore()
        >>> store.add([Pair("Yes.", "Ja."), Pair("No.", "Nein.")], "talk.tsv")
        >>> check_store(store, []).sound
        True
    """
    report = examined(list(_stretches(store)))
    findings = [*report.findings, *(_overlap(store, validation) if validation else [])]
    return Report(report.pairs, report.checked, ordered(findings), report.unchecked)


def paragraph(report: Report, total: int) -> str:
    """Return what a person should know of a report on some of `total` pairs."""
    size = report.pairs["train"]
    share = f"{size:,} pairs" if size == total else f"{size:,} of {total:,} pairs"
    grave = [f for f in report.findings if f.severity == "error" or (f.severity == "warning" and f.share >= TOLD)]
    if not grave:
        without = "".join(f"; not {line}" for line in report.unchecked)
        return f"data: looks sound (checked on {share}: {', '.join(report.checked)}{without})"
    told = "; ".join(
        f"{finding.count:,} {finding.kind.what} ({finding.name}" + (f", {finding.lines[0]})" if finding.lines else ")")
        for finding in grave
    )
    verb = "does not look sound" if not report.sound else "has flaws"
    return f"data: {verb} (checked on {share}): {told}. See `onehop data check`; data.check = false turns this off"


def _stretches(store: PairStore) -> Iterator[Chunk]:
    """Yield stretches of pairs that follow each other, at most `MOST` pairs in all."""
    wanted = min(PARTS, store.num_blocks)
    first = 0
    for part in range(wanted):
        index = part * store.num_blocks // wanted
        numbers, (sources, targets) = store.numbers(index), store.columns(index)
        size = min(len(sources), max(1, MOST // wanted))
        at = (len(sources) - size) // 2
        yield _chunk(store, index, first, numbers.start + at, (sources[at : at + size], targets[at : at + size]))
        first += size


def _chunk(store: PairStore, index: int, first: int, number: int, sides: tuple[list[str], list[str]]) -> Chunk:
    def locate(row: int, side: int) -> str:
        return store.where(number + row)[side]

    return Chunk(str(store.file(index)), first, *sides, locate)


def _overlap(store: PairStore, validation: list[Pair]) -> Iterator[Finding]:
    """Yield how many validation pairs, and sources, are trained on."""
    pairs, sources = {tuple(pair) for pair in validation}, {pair.source for pair in validation}
    seen_pairs, seen_sources = set[tuple[str, ...]](), set[str]()
    for index in range(store.num_blocks):
        columns = store.columns(index)
        seen_sources.update(sources.intersection(columns[0]))
        seen_pairs.update(pairs.intersection(zip(*columns, strict=True)))
    counts = {
        "overlap": sum(tuple(pair) in seen_pairs for pair in validation),
        "source-overlap": sum(pair.source in seen_sources and tuple(pair) not in seen_pairs for pair in validation),
    }
    for name, count in counts.items():
        if count:
            yield judge(name, "valid", count, len(validation), [])
