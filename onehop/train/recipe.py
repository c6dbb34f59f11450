"""Recipes: everything that decides a run, in one TOML file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, field_validator, model_validator

from onehop.config import SettingsError, Table, override, read_toml, validate
from onehop.data.columns import Columns
from onehop.errors import ConfigError
from onehop.files import os_errors
from onehop.models.registry import configure
from onehop.tasks.folders import bundled
from onehop.tasks.settings import DecodeConfig, PairLong
from onehop.text.limit import NO_WINDOWS

TRANSLATION = "translation"
FILES = ("source", "target", "pairs", "valid_source", "valid_target", "valid_pairs")


class DataConfig(Table):
    """Where the text is. Give `source` and `target`, or `pairs`; several files are read one after the other."""

    FILES: ClassVar[tuple[str, ...]] = FILES

    source: list[str] = Field(default=[], description="Files of source lines.")
    target: list[str] = Field(default=[], description="Files of target lines, one for each source file.")
    pairs: list[str] = Field(
        default=[],
        description="Files of pairs: .tsv, .txt, .csv or .jsonl, which may end in .gz or .zst; .parquet; or folders of "
        "saved data sets.",
    )
    weights: list[Annotated[float, Field(gt=0, le=1000)]] = Field(
        default=[], description="For each training file, how often an epoch sees each of its pairs; default: once."
    )
    tags: list[str] = Field(
        default=[], description="For each training file, the name of the tag put before its sources; empty for none."
    )
    valid_source: list[str] = Field(default=[], description="Validation; default: 1 % of the pairs, chosen by hash.")
    valid_target: list[str] = Field(default=[], description="Validation targets.")
    valid_pairs: list[str] = Field(default=[], description="Validation pairs.")
    source_column: str = Field(
        default="", description="Column of sources in CSV, Parquet and data sets; default: found by its name."
    )
    target_column: str = Field(default="", description="Column of targets.")
    source_language: str = Field(default="", description="ISO code; sets how sentences are split.")
    target_language: str = Field(
        default="", description="ISO code; sets how sentences are joined and BLEU counts words."
    )
    check: bool = Field(default=True, description="Look at some of the pairs first and tell what looks wrong.")
    license: str = Field(default="", description="Licence of the data, for the model card.")
    attribution: str = Field(default="", description="Notice that the licence asks for, for the model card.")

    @model_validator(mode="after")
    def _one_way(self) -> DataConfig:
        for prefix in ("", "valid_"):
            given = {name: bool(getattr(self, prefix + name)) for name in ("source", "target", "pairs")}
            if given["source"] != given["target"]:
                raise ValueError(f"{prefix}source and {prefix}target go together")
            if given["source"] and given["pairs"]:
                raise ValueError(f"give {prefix}source and {prefix}target, or {prefix}pairs, not both")
        if not (self.source or self.pairs):
            raise ValueError("no training text: give source and target, or pairs")
        for name, given in (("weights", self.weights), ("tags", self.tags)):
            if given and len(given) != self.num_files:
                raise ValueError(f"{name} has {len(given)} values for {self.num_files} files; give one for each file")
        if bool(self.source_column) != bool(self.target_column):
            raise ValueError("source_column and target_column go together")
        return self

    @property
    def num_files(self) -> int:
        """Files, or pairs of parallel files, to train on."""
        return len(self.pairs or self.source)

    @property
    def columns(self) -> Columns:
        """How columns are found in tables that name them."""
        return Columns(self.source_column, self.target_column, self.source_language, self.target_language)


class TextConfig(Table):
    """How text becomes tokens. What is left out is chosen by the size of the data."""

    algorithm: Literal["bpe", "unigram", "wordpiece"] = Field(
        default="bpe", description="How pieces are learnt and words cut into them."
    )
    vocab_size: int | None = Field(default=None, ge=300, description="Pieces of each vocabulary.")
    joint: bool = Field(default=True, description="One vocabulary for both sides.")
    normalization: Literal["none", "nfc", "nfkc"] = Field(default="nfc", description="Unicode form of all text.")
    coverage: float = Field(
        default=0.9995, gt=0, le=1, description="Share of characters with a piece; the rest is bytes."
    )
    max_length: int | None = Field(
        default=None, ge=1, description="Most tokens of a line; default: holds 99.9 % of them."
    )
    bpe_dropout: float = Field(
        default=0.0, ge=0, le=1, description="Probability of leaving out each merge of pieces, drawn in each epoch."
    )
    long: PairLong | None = Field(
        default=None,
        description="Longer training lines; default: error if max_length was given, drop if it was chosen.",
    )

    @field_validator("long", mode="before")
    @classmethod
    def _not_window(cls, long: object) -> object:
        if long == "window":
            raise ValueError(f"{NO_WINDOWS}; use error, drop or cut")
        return long

    @model_validator(mode="after")
    def _fits(self) -> TextConfig:
        if self.bpe_dropout and self.algorithm != "bpe":
            raise ValueError(f"bpe_dropout leaves out merges, which {self.algorithm} pieces do not have; use bpe")
        return self


class TrainConfig(Table):
    """How the model learns. What is left out is chosen by the size of the data."""

    init: str | None = Field(
        default=None, description="The model to continue: a run, a package, a checkpoint or a bundled name."
    )
    max_updates: int | None = Field(default=None, ge=1, description="Updates.")
    max_minutes: float | None = Field(default=None, gt=0, description="Minutes of training, evaluations included.")
    batch_tokens: int | Literal["auto"] | None = Field(
        default=None,
        description="Tokens of a batch, the larger side, padding included; auto: what is fast here.",
    )
    packing: bool | None = Field(
        default=None,
        description="Put several pairs into a row, in any order, so that little is padding; no if left out, but where "
        "a pretrained encoder reads whole texts or tags their words.",
    )
    accumulate: int = Field(default=1, ge=1, description="Batches for each update.")
    schedule: Literal["noam", "inverse_sqrt", "cosine", "linear", "constant"] = Field(
        default="cosine", description="Of the rate."
    )
    learning_rate: float | None = Field(default=None, gt=0, description="Peak; the factor, for noam.")
    warmup: int | None = Field(default=None, ge=1, description="Updates until the peak.")
    weight_decay: float = Field(default=0.01, ge=0, description="Of matrices, by AdamW.")
    betas: list[float] = Field(default=[0.9, 0.98], min_length=2, max_length=2, description="Of AdamW.")
    epsilon: float = Field(default=1e-9, gt=0, description="Of AdamW.")
    max_norm: float = Field(default=1.0, ge=0, description="Gradients are clipped to this length; 0: not at all.")
    label_smoothing: float = Field(
        default=0.1, ge=0, lt=1, description="Share of a target's mass spread over all tokens."
    )
    r_drop: float = Field(
        default=0.0, ge=0, description="Weight of the divergence between two draws of dropout (Liang 2021); 5 there."
    )
    reinforce_reward: float = Field(
        default=1.0, ge=0, description="Hard attention: lambda_r, how much its draws learn from reward (Xu 2015)."
    )
    reinforce_entropy: float = Field(
        default=0.002, ge=0, description="Hard attention: lambda_e, reward for the entropy of its weights."
    )
    reinforce_decay: float = Field(
        default=0.9, ge=0, lt=1, description="Hard attention: share of the baseline that an update keeps."
    )
    ema: float = Field(default=0.0, ge=0, lt=1, description="Decay of a moving average of the weights; 0: none.")
    average: int = Field(default=1, ge=1, description="Checkpoints whose mean is validated and shipped.")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32",
        description="Of the products in training; weights and sums stay float32. auto: bfloat16 where it is fast.",
    )
    activation_checkpointing: bool = Field(
        default=False, description="Compute activations again on the way back: less memory, a third more time."
    )
    seed: int = Field(default=1, ge=0, lt=2**63, description="Of weights, order of data and dropout.")
    non_finite: Literal["skip", "lower", "stop"] = Field(
        default="skip",
        description="Where a gradient is not finite or the loss diverges: skip the update; also halve the rate; stop.",
    )
    evaluate_every: int | None = Field(
        default=None, ge=1, description="Updates between evaluations; default: by the limit."
    )
    save_every: int = Field(default=500, ge=1, description="Updates between checkpoints.")
    tensorboard: bool = Field(default=False, description="Write RUN/tensorboard as well.")
    keep: int = Field(default=2, ge=1, description="Checkpoints kept.")
    patience: int | None = Field(default=None, ge=1, description="Evaluations without a new best until training stops.")
    best: Literal["loss", "bleu"] | None = Field(
        default=None,
        description="Validation figure that chooses the model kept; default: BLEU, or loss for short lines.",
    )

    @field_validator("batch_tokens", mode="plain")
    @classmethod
    def _batch_tokens(cls, value: Any) -> Any:
        if value is None or value == "auto" or (type(value) is int and value >= 1):
            return value
        raise ValueError(f"should be a number of tokens from 1, or auto (given: {value!r})")

    @property
    def tokens(self) -> int:
        """Tokens of a batch, where they are a number by now."""
        return self.batch_tokens if isinstance(self.batch_tokens, int) else 1

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must lie in [0, 1)")
        if self.ema and self.average > 1:
            raise ValueError("ema and average are two ways to the same end; give one of them")
        return self


class EvaluateConfig(Table):
    """How validation is done during training."""

    sentences: int = Field(
        default=500, ge=1, description="Validation sentences translated at each evaluation, evenly spread."
    )
    beam_size: int = Field(default=1, ge=1, description="Beam of those translations.")
    tokenize: Literal["13a", "char", "intl", "none", "zh"] | None = Field(
        default=None, description="sacreBLEU's tokenizer; default: by the target language."
    )


class Recipe(Table):
    """A whole run of a translation. `model` holds `architecture`, `preset` and any setting of that family."""

    data: DataConfig
    text: TextConfig = TextConfig()
    model: dict[str, Any] = Field(default={}, description="The family's settings.")
    train: TrainConfig = TrainConfig()
    decode: DecodeConfig = DecodeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @property
    def task(self) -> str:
        """Name of the task, which such a recipe does not write down."""
        return TRANSLATION


class AnyRecipe(Protocol):
    """What the recipe of every task has; it is a `Table`, and knows its task."""

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def data(self) -> Any:
        """Where the data are: `FILES` names its keys that hold files."""
        ...

    @property
    def text(self) -> Any:
        """How text becomes tokens."""
        ...

    @property
    def model(self) -> dict[str, Any]:
        """The family's settings."""
        ...

    @property
    def train(self) -> TrainConfig:
        """How the model learns."""
        ...

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Any:
        """Return it with other tables."""
        ...

    def model_dump(self, *, exclude: Any = None) -> dict[str, Any]:
        """Return it as plain values."""
        ...


def load_recipe(path: str | Path, settings: Sequence[str] = ()) -> Any:
    """Read a recipe of any task and apply `TABLE.KEY=VALUE` settings.

    Paths in it are relative to the file's folder, and may name variables of the environment: `$ONEHOP_DATA/train.en`.

    Raises:
        ConfigError: Lists every mistake at once.

    Example:
        >>> load_recipe("recipe.toml", ["train.max_updates=7"]).train.max_updates
        7
    """
    data = read_toml(path)
    data.pop("record", None)  # what a run of the recipe reached; not a setting
    recipe = make_recipe(data, settings, str(path))
    return found_from(recipe, Path(path).parent)


def make_recipe(data: Mapping[str, Any], settings: Sequence[str] = (), where: str = "recipe") -> Any:
    """Validate a recipe given as tables; the key `task` says of which task, without it of a translation.

    Raises:
        ConfigError: Lists every mistake at once.

    Example:
        >>> make_recipe({"data": {"pairs": ["pairs.tsv"]}}, ["train.seed=3"]).train.seed
        3
    """
    from onehop.train.jobs import job

    tables = override(data, settings)
    of_task = job(tables.get("task", TRANSLATION), where)
    if of_task.recipe is Recipe:
        tables.pop("task", None)
    faults = of_task.faults(tables)
    try:
        recipe = validate(of_task.recipe, tables, where)
    except SettingsError as error:
        raise SettingsError(error.lines + faults, where) from None
    if faults:
        raise SettingsError(faults, where)
    return recipe


def model_faults(tables: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `[model]`, as far as it can be told before the data are known."""
    return family_faults(tables.get("model", {}), "transformer", configure)


def family_faults(settings: Any, default: str, configure: Callable[[str, Mapping[str, Any]], Table]) -> list[str]:
    """Return what is wrong with the settings of a family.

    Args:
        settings: The table `[model]`.
        default: The family, where it names none.
        configure: Makes settings of a family's name and a table, or raises an error.
    """
    if not isinstance(settings, dict) or settings.get("preset") == "auto":
        return []
    settings = {"architecture": default, **settings}
    try:
        configure(settings.pop("architecture"), settings)
    except SettingsError as error:
        return error.lines
    except ConfigError as error:
        return [f"{error.where}: {error.problem}" + f"; {error.remedy}" * bool(error.remedy)]
    return []


def found_from(recipe: AnyRecipe, folder: Path) -> Any:
    """Return the recipe with data files that are relative to `folder` as the current folder sees them."""
    return _with_files(recipe, lambda file: _tidy(folder / _expanded(file)))


def _expanded(file: str) -> str:
    """Put in what the environment says for `$NAME`."""
    path = os.path.expandvars(file)
    if file.startswith("$") and path == file:
        name = file.split("/")[0]
        remedy = f"Set it to the folder of your data: export {name.strip('${}')}=FOLDER"
        raise ConfigError(f"{name} is not set in the environment", remedy, file)
    return path


def _tidy(path: Path) -> str:
    """Return a path without `..`, unless a link makes that another file."""
    short = os.path.normpath(path)
    with os_errors(path, "look for a file that the recipe names"):
        return short if os.path.realpath(short) == os.path.realpath(path) else str(path)


def relative_to(recipe: AnyRecipe, folder: Path) -> Any:
    """Return the recipe with every data file given as relative to `folder`, for a record."""
    return _with_files(recipe, lambda file: os.path.relpath(os.path.realpath(file), os.path.realpath(folder)))


def _with_files(recipe: AnyRecipe, change: Callable[[str], str]) -> Any:
    files = {name: [change(file) for file in getattr(recipe.data, name)] for name in recipe.data.FILES}
    data, train = recipe.data.model_copy(update=files), recipe.train
    if train.init is not None and not (train.init in bundled() and not Path(change(train.init)).exists()):
        train = train.model_copy(update={"init": change(train.init)})
    return recipe.model_copy(update={"data": data, "train": train})


def to_toml(recipe: AnyRecipe) -> str:
    """Write a recipe as TOML; keys that are not set are left out."""
    tables = recipe.model_dump()
    lines = [f"task = {_toml(tables.pop('task'))}", ""] if "task" in tables else []
    for name, table in tables.items():
        rows = [
            f"{key} = {_toml(value)}" for key, value in table.items() if value is not None and value not in ([], "")
        ]
        if rows:
            lines += [f"[{name}]", *rows, ""]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    """Write a value: TOML's strings, numbers, booleans and lists are JSON's, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
