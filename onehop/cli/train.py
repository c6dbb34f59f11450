"""`onehop train`: from text, or a recipe, to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onehop.cli.options import Device, LabelColumn, TextColumns, Threads
from onehop.errors import ConfigError

Files = list[str]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Learnt from --data: classify, multilabel, regress, tag, answer, choose, embed, mlm. Default: translate.",
    ),
]
Data = Annotated[
    Files | None,
    typer.Option("--data", help="What has labels or answers: .csv, .tsv, .jsonl, .parquet, .conll, .conllu, .json."),
]
Init = Annotated[
    str | None, typer.Option("--init", help="A model to continue: a run, a package, a checkpoint, or a bundled name.")
]
Like = Annotated[
    str | None, typer.Option("--like", help="Train as this model was: its recipe, and its data unless files are given.")
]
Seeds = Annotated[
    int, typer.Option("--seeds", min=1, help="Train so often, from --seed on; tell mean and spread, keep the best.")
]
Precision = Annotated[
    str | None, typer.Option("--precision", help="Short for --set train.precision=float32, bfloat16 or auto.")
]


def train(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe (TOML); or give files.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; default: runs/NAME.")] = None,
    pairs: Annotated[
        Files | None, typer.Option("--pairs", help="Pairs: .tsv, .txt, .csv, .jsonl (also .gz, .zst), .parquet.")
    ] = None,
    source: Annotated[Files | None, typer.Option("--source", help="Source lines.")] = None,
    target: Annotated[Files | None, typer.Option("--target", help="Target lines.")] = None,
    valid_pairs: Annotated[Files | None, typer.Option("--valid-pairs", help="Validation pairs.")] = None,
    valid_source: Annotated[Files | None, typer.Option("--valid-source", help="Validation sources.")] = None,
    valid_target: Annotated[Files | None, typer.Option("--valid-target", help="Validation targets.")] = None,
    task: Task = None,
    data: Data = None,
    valid: Annotated[Files | None, typer.Option("--valid", help="The same, for validation.")] = None,
    text_columns: TextColumns = None,
    label_column: LabelColumn = "",
    init: Init = None,
    like: Like = None,
    settings: Annotated[Files | None, typer.Option("--set", help="A setting of the recipe: TABLE.KEY=VALUE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Move what is in the folder aside first.")] = False,
    long: Annotated[
        str | None, typer.Option("--long", help="Short for --set text.long=error, drop, cut or window.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Short for --set train.seed=N.")] = None,
    seeds: Seeds = 1,
    precision: Precision = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Train a model from two text files, a table of pairs, a table of labelled texts, or a recipe.

    Without a recipe everything is chosen by the size of the data, told, and written to RUN/recipe.toml.
    """
    from onehop.cli.options import use

    files = _files(
        task or ("" if like and (data or valid) else None),  # a model to train like has its own
        {"source": source, "target": target, "pairs": pairs, "valid_source": valid_source,
         "valid_target": valid_target, "valid_pairs": valid_pairs},
        {"train": data, "valid": valid}, {"text_columns": text_columns, "label_column": label_column},
    )  # fmt: skip
    short = {"train.seed": seed, "text.long": long, "train.precision": precision}
    changes = [*(settings or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    device = use(threads, device)
    chosen = _like(like, recipe, files, changes) if like else chosen_recipe(recipe, task, files, changes, out, resume)
    if init is not None:  # from the present folder, wherever the recipe lies
        chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update={"init": init})})
    if out is None:
        if recipe is None:
            raise ConfigError("where to?", "Name a folder for the run: --out runs/first", "--out")
        out = Path("runs") / recipe.stem
    run_recipe(chosen, out, seeds, resume=resume, overwrite=overwrite, device=device)
    tell_next(chosen, out)


def run_recipe(recipe: Any, out: Path, seeds: int, **how: Any) -> None:
    """Train once, or once for each seed, and say how it ended."""
    from onehop.cli import console
    from onehop.train import train as run
    from onehop.train.seeds import train_seeds

    if seeds > 1:
        with console.TrainingView() as view:
            found = train_seeds(recipe, out, seeds, listener=view, tell=view.tell, **how)
        for line in found.told():
            console.tell(line)
        return
    with console.TrainingView() as view:
        trained = run(recipe, out, listener=view, **how)
    console.tell(f"finished ({trained.progress.finished}) after {trained.progress.update:,} updates")


def tell_next(recipe: Any, out: Path) -> None:
    """Say where the model is, and what to do with it."""
    from onehop.cli import console
    from onehop.files import Run
    from onehop.tasks.registry import kind
    from onehop.train.jobs import PACKAGED

    verb = kind(PACKAGED.get(recipe.task) or str(recipe.task)).verb
    report = f"report: {Run(out).page}\n" if Run(out).page.is_file() else ""
    then = f"search {out} COLLECTION" if recipe.task == "embed" else f"{verb} {out} FILE"
    console.tell(f"model: {Run(out).model}\n{report}next: onehop {then}")


def _files(
    task: str | None, pairs: dict[str, Files | None], labelled: dict[str, Files | None], columns: dict[str, Any]
) -> dict[str, Any]:
    """Return the keys of a recipe's `[data]` that were given: pairs to translate, or labelled texts of a task."""
    given = pairs
    if task not in (None, "translation"):  # the empty one is a model's, which is read later
        given = {**labelled, **{name: files for name, files in pairs.items() if files}}
    elif any([*labelled.values(), *columns.values()]):
        raise ConfigError("labelled texts without a task", "Say what is learnt from them: --task classify", "--data")
    return {key: value for key, value in {**given, **columns}.items() if value}


def chosen_recipe(
    path: Path | None, task: str | None, files: dict[str, Any], changes: list[str], out: Path | None, resume: bool
) -> Any:
    """Return the recipe of a file, of files on the command line, or of the run that goes on."""
    from onehop.train import load_recipe, make_recipe

    if path is not None and files:
        raise ConfigError("a recipe and files", "Name the files in the recipe, or leave the recipe out.", str(path))
    if path is not None:
        recipe = load_recipe(path, changes)
        if task not in (None, recipe.task):
            raise ConfigError(f"a recipe of the task {recipe.task!r}, not {task!r}", "Leave out --task.", str(path))
        return recipe
    if task not in (None, "translation") and "train" not in files and not (resume and not files):
        raise ConfigError("nothing to train on", f"Give --data: what the task {task!r} is learnt from.", "--data")
    if files or (task and not resume):
        return make_recipe({"data": files} | ({"task": task} if task else {}), changes, "command line")
    if resume and out is not None and (out / "recipe.toml").is_file():
        return load_recipe(out / "recipe.toml", changes)
    raise ConfigError(
        "nothing to train on", "Give --source and --target, --pairs, --task and --data, or a recipe.", "onehop train"
    )


def _like(model: str, path: Path | None, files: dict[str, Any], changes: list[str]) -> Any:
    from onehop.cli import console
    from onehop.train import like

    if path is not None:
        raise ConfigError("a recipe and a model to train like", "Leave out one of them.", str(path))
    return like(model, files, changes, console.tell)
