"""Every attention a recipe can ask for: score x select x region x heads, in recurrent and Transformer decoders.

Each cell is either *trained two updates, decoded, packaged, reloaded and verified*, from the keys of a recipe alone, or
*refused*, with the reason that the configuration gives. Nothing here knows which cells those are: what a model's
settings accept must work, and anything else that goes wrong is a defect.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from onehop.config import SettingsError
from onehop.data import tatoeba
from onehop.errors import ConfigError, nearest
from onehop.files import write_text
from onehop.models.registry import configure
from onehop.nn.attention.regions import OF_ONESELF, REGIONS
from onehop.nn.attention.scores import SCORES
from onehop.nn.attention.selects import SELECTS
from onehop.tasks import load_package
from onehop.train.recipe import Recipe, make_recipe
from onehop.train.run import train
from onehop.verify import read_data, verify

HEADS: dict[str, dict[str, int]] = {
    "single": {"num_heads": 1},
    "multi-head": {"num_heads": 4},
    "grouped-query": {"num_heads": 4, "num_kv_heads": 2},
    "multi-query": {"num_heads": 4, "num_kv_heads": 1},
}
SMALL: dict[str, dict[str, Any]] = {
    "recurrent": {"dim": 8, "hidden_dim": 8},
    "transformer": {"dim": 8, "ffn_dim": 8, "num_encoder_layers": 1, "num_decoder_layers": 1},
}
AXES: dict[str, tuple[str, ...]] = {
    "family": tuple(SMALL),
    "region": (REGIONS[0], *OF_ONESELF, *REGIONS[1:]),
    "score": SCORES,
    "select": SELECTS,
    "heads": tuple(HEADS),
}
WINDOW = 2  # positions on either side of a region's centre
LETTERS = 10  # at most, of a line that cells are trained on
PAIRS = 40
LINES = ("Run!", "I ran.", "Oh")  # of three lengths, for the checks and for what is translated


@dataclass(frozen=True)
class Cell:
    """One value of each axis.

    Example:
        >>> Cell("transformer", "local-p", "general", "entmax", "multi-query").keys()["cross_region"]
        'local-p'
    """

    family: str
    region: str
    score: str
    select: str
    heads: str

    def keys(self) -> dict[str, Any]:
        """Return the keys of a recipe's `[model]` table that ask for it.

        In a Transformer, what only states that read each other have is asked of self-attention, the rest of the
        attention over the source.
        """
        asked: dict[str, Any] = {"architecture": self.family, "score": self.score, "select": self.select}
        if self.family == "recurrent":
            asked |= {"region": self.region, "window": WINDOW}
        elif self.region not in OF_ONESELF:
            asked = {
                "architecture": self.family, "cross_score": self.score, "cross_select": self.select,
                "cross_region": self.region, "cross_window": WINDOW,
            }  # fmt: skip
        elif self.region == "window":
            asked |= {"window": WINDOW}
        return asked | HEADS[self.heads]

    def refusal(self) -> str:
        """Return why the configuration refuses it; the empty string where it does not.

        Example:
            >>> Cell("recurrent", "everywhere", "dot", "soft", "single").refusal()
            ''
        """
        settings = {**SMALL[self.family], **self.keys()}
        try:
            configure(settings.pop("architecture"), settings)
        except SettingsError as error:
            return "; ".join(error.lines)
        return ""

    def __str__(self) -> str:
        return " ".join(astuple(self))


def cells(values: Sequence[str] = ()) -> list[Cell]:
    """Return all cells, or those that have all of some values.

    Args:
        values: Of different axes, such as `transformer` and `entmax`; of one axis, any of them will do.

    Raises:
        ConfigError: No axis has such a value.

    Example:
        >>> len(cells()), len(cells(["transformer", "entmax", "local-m", "local-p"]))
        (2016, 56)
    """
    known = [value for axis in AXES.values() for value in axis]
    for value in values:
        if value not in known:
            hint = nearest(value, known) or f"known: {', '.join(known)}"
            raise ConfigError(f"no score, select, region, heads or family {value!r}; {hint}", "Name some.", "lab table")
    chosen = {axis: [each for each in all_of if each in values] or all_of for axis, all_of in AXES.items()}
    return [Cell(*row) for row in product(*chosen.values())]


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: it was refused, it failed, or neither.

    Args:
        cell: Which.
        refused: Why, as the configuration says.
        error: What went wrong, though it was not refused.
    """

    cell: Cell
    refused: str = ""
    error: str = ""


def each(wanted: Sequence[Cell]) -> Iterator[Outcome]:
    """Try cells one after the other, in a temporary folder, and yield what became of each as soon as it is known."""
    with scratch() as folder:
        for number, cell in enumerate(wanted):
            refused = cell.refusal()
            yield Outcome(cell, refused, "" if refused else _tried(cell, folder, f"run-{number}"))


def _tried(cell: Cell, folder: Path, run: str) -> str:
    try:
        return attempt(cell, folder, run)
    except Exception as fault:  # the table tells of each cell, whatever became of another
        return f"{type(fault).__name__}: {fault}".partition("\n")[0]


@contextmanager
def scratch() -> Generator[Path]:
    """Make a folder with the text that cells are trained on, and leave nothing behind, in the user's cache neither."""
    short = [pair for pair in tatoeba.pairs() if max(map(len, pair)) <= LETTERS][:PAIRS]
    before = os.environ.get("ONEHOP_CACHE")
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, some in (("train.tsv", short[2:]), ("valid.tsv", short[:2])):
            write_text(folder / file, "".join(f"{source}\t{target}\n" for source, target in some))
        write_text(folder / "lines.txt", "".join(f"{line}\n" for line in LINES))
        os.environ["ONEHOP_CACHE"] = str(folder / "cache")
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["ONEHOP_CACHE"]
            else:
                os.environ["ONEHOP_CACHE"] = before


def attempt(cell: Cell, folder: Path, run: str = "run") -> str:
    """Train a cell two updates, which makes its package; reload that, decode and verify it.

    Args:
        cell: That is not refused.
        folder: Of `scratch`.
        run: Name of the run in it.

    Returns:
        What does not hold; the empty string where everything does.
    """
    trained = train(recipe(cell, folder), folder / run)
    package = load_package(trained.model)
    if trained.progress.update != 2 or len(package.task.translate(list(LINES))) != len(LINES):
        return f"{trained.progress.update} updates, or a line without a translation"
    report = verify(package, read_data(package.task, folder / "lines.txt"))
    return "; ".join(f"{check.name}: {check.measured} {check.detail}" for check in report.checks
                     if check.passed is False)  # fmt: skip


def recipe(cell: Cell, folder: Path) -> Recipe:
    """Return the recipe of a cell, for the text in the folder."""
    return make_recipe({
        "data": {"pairs": [str(folder / "train.tsv")], "valid_pairs": [str(folder / "valid.tsv")], "check": False},
        "text": {"vocab_size": 300, "max_length": 16, "long": "drop"},
        "model": {**SMALL[cell.family], **cell.keys()},
        "train": {"max_updates": 2, "batch_tokens": 60, "learning_rate": 1e-2, "warmup": 1},
        "decode": {"beam_size": 2, "max_length": 3},
        "evaluate": {"sentences": 1},
    })  # fmt: skip


# ------------------------------------------------------------------------------------------------ the page

TRAINED, FAILED = "✓", "✗"
HEAD = """# Every combination of attention

What `onehop lab table` found, of every score with every select, region and grouping of heads, in both families of
decoders: {counts}.

The marks of a cell are, in this order, for {heads}. **✓** was *trained two updates,
decoded, packaged, reloaded and verified*, by [keys of a recipe](../how-to/attention.md) and no code. A letter was
*refused*: the reasons stand below, as `onehop train` tells them. In a Transformer, `causal` and `window` are of
self-attention (`score`, `select`, `window`), the other regions of the attention over the source (`cross_score`,
`cross_select`, `cross_region`).
"""


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the table as Markdown: a section for each family and region, the reasons of what was refused behind.

    Example:
        >>> text = page([Outcome(cell, cell.refusal()) for cell in cells(["dot", "transformer", "causal"])])
        >>> [line for line in text.splitlines() if line.startswith("| `dot`")]
        ['| `dot` | ✓✓✓✓ | ✓✓✓✓ | ✓✓✓✓ | ✓✓✓✓ | ✓✓✓✓ | aaaa |']
    """
    reasons = list(dict.fromkeys(outcome.refused for outcome in outcomes if outcome.refused))
    letters = {reason: chr(ord("a") + number) for number, reason in enumerate(reasons)}
    marks = {o.cell: letters[o.refused] if o.refused else (FAILED if o.error else TRAINED) for o in outcomes}
    heads = list(dict.fromkeys(cell.heads for cell in marks))
    parts = [HEAD.format(counts=counted(outcomes), heads=", ".join(heads))]
    for family, region in dict.fromkeys((cell.family, cell.region) for cell in marks):
        parts.append(_section(family, region, marks))
    for title, lines in (
        ("Refused", [f"- **{letter}** {reason}" for reason, letter in letters.items()]),
        ("Failed", [f"- {outcome.cell}: {outcome.error}" for outcome in outcomes if outcome.error]),
    ):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _section(family: str, region: str, marks: Mapping[Cell, str]) -> str:
    """Return the grid of one family and region, scores down and selects across; one line if all is refused alike."""
    grid: dict[tuple[str, str], str] = {}
    for cell, mark in marks.items():
        if (cell.family, cell.region) == (family, region):
            place = (cell.score, cell.select)
            grid[place] = grid.get(place, "") + mark
    title, found = f"## {family.capitalize()}, {region}\n\n", set("".join(grid.values()))
    if len(found) == 1 and not found & {TRAINED, FAILED}:
        return f"{title}All {sum(map(len, grid.values()))} cells: {found.pop()}.\n"
    scores, selects = (list(dict.fromkeys(place[axis] for place in grid)) for axis in (0, 1))
    rows = [f"| `{score}` | {' | '.join(grid[score, select] for select in selects)} |" for score in scores]
    head = f"| | {' | '.join(f'`{select}`' for select in selects)} |\n|---{'|---' * len(selects)}|"
    return title + "\n".join([head, *rows]) + "\n"


def counted(outcomes: Sequence[Outcome]) -> str:
    """Return how many cells there are of each kind, in words.

    Example:
        >>> counted([Outcome(cells()[0]), Outcome(cells()[1], refused="no")])
        '2 cells, 1 trained and 1 refused'
    """
    refused, failed = (sum(bool(getattr(o, kind)) for o in outcomes) for kind in ("refused", "error"))
    told = f"{len(outcomes):,} cells, {len(outcomes) - refused - failed:,} trained and {refused:,} refused"
    return f"{told}, {failed:,} failed" if failed else told
