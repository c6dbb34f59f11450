"""`onehop info`: what a model is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onehop.cli.options import AllowDrift, AllowPickle, Json


def info(
    model: Annotated[
        str | None, typer.Argument(help="A run, a package, or a bundled name.", show_default=False)
    ] = None,
    as_json: Json = False,
    allow_drift: AllowDrift = False,
    allow_pickle: AllowPickle = False,
) -> None:
    """Tell what a model is: task, size, settings, data, files; every hash is checked.

    Without a model, list those that are bundled.
    """
    from onehop.cli import console
    from onehop.runtime import coverage
    from onehop.tasks import bundled, load_package

    if model is None:
        names = list(bundled())
        if as_json:
            console.print_json({"bundled": names})
        else:
            console.stdout().write("".join(f"{name}\n" for name in names) or "no bundled models\n")
        return
    package = load_package(model, allow_drift=allow_drift, allow_pickle=allow_pickle)
    manifest: Any = package.manifest
    task: Any = package.task
    share, reason = coverage(task.model)
    values = {
        "path": str(package.path),
        "task": task.task,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "config": manifest["settings"],
        "labels": manifest.get("labels"),
        "lengths": manifest.get("lengths"),
        "precision": package.precision,
        "adapter": manifest.get("adapter"),
        "runtime": {"share": round(share, 4), "reason": reason},
        "format": manifest["format"],
        "versions": manifest["versions"],
        "vocabularies": _vocabularies(task),
        "files": manifest["files"],
        "fingerprints": manifest.get("fingerprints"),
        "golden": len(package.golden),
        "drift": package.drift or None,
    }
    if as_json:
        console.print_json(values)
        return
    _show(values, [name for name, _ in task.model.named_parameters()])


def _vocabularies(task: Any) -> list[int]:
    """Return the pieces of each side, or of the one there is."""
    from onehop.tasks.registry import kind

    if task.task == "translation":
        return [t.vocab_size for t in (task.source_tokenizer, task.target_tokenizer)]
    return [tokenizer.vocab_size for tokenizer in kind(task.task).tokenizers(task).values()]


def _show(values: dict[str, Any], names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    config = values["config"]
    model = ", ".join(f"{key} {value}" for key, value in config["model"].items() if value is not None)
    rows = {
        "path": values["path"],
        "task": values["task"] + _languages(config),
        "parameters": f"{values['parameters']:,} in {len(names)} tensors, {values['precision']}",
        "model": f"{config['architecture']}: {model}",
        "vocabulary": " and ".join(f"{size:,}" for size in sorted(set(values["vocabularies"]))) + " pieces",
        "longest line": f"{config['text']['max_length']} tokens",
        **_of_task(config),
        **_adapter(values["adapter"]),
        "data licence": config["license"] or "not stated",
        "made by": ", ".join(f"{name} {version}" for name, version in values["versions"].items()),
        "kernels run": f"{values['runtime']['share']:.0%} of the weights"
        + (f"; {values['runtime']['reason']}" if values["runtime"]["reason"] else ""),
        "golden lines": str(values["golden"]),
        "fingerprints": ", ".join(values["fingerprints"] or ()) or f"not recorded: format {values['format']}",
        "drift": values["drift"] or "none",
        "files": "\n".join(f"{name}  {digest[:12]}" for name, digest in values["files"].items()),
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        table.add_row(f"[bold]{name}", Text(value))
    Console().print(table)


def _languages(config: dict[str, Any]) -> str:
    if "source_language" not in config:
        return ""
    return f" ({config['source_language'] or '?'} to {config['target_language'] or '?'})"


def _adapter(entry: dict[str, Any] | None) -> dict[str, str]:
    """Return the row that only an adapter has."""
    if entry is None:
        return {}
    what = f"rank {entry['rank']}, alpha {entry['alpha']:g}, of {', '.join(entry['targets'])}"
    return {"adapter": f"{what}; base {entry['base']} ({entry['sha256'][:12]})"}


def _of_task(config: dict[str, Any]) -> dict[str, str]:
    """Return rows that only some tasks have."""
    rows: dict[str, str] = {}
    if "decode" in config:
        rows["splits paragraphs"] = "yes" if config["text"]["sentences"] else "no"
    if "labels" in config:
        rows["labels"] = ", ".join(config["labels"])
        rows["columns"] = ", ".join(config["columns"]) or "one text"
    if "unit" in config:
        rows["embedding"] = f"{config['pooling']} of the states" + (", of length 1" if config["unit"] else "")
    for name, title in (("head", "head"), ("decode", "decoding")):
        if name in config:
            rows[title] = ", ".join(f"{key} {value}" for key, value in config[name].items() if value is not None)
    return rows
