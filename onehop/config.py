"""Strict configuration: TOML in, resolved JSON out, every mistake at once with its key and the nearest valid name."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from onehop.errors import ConfigError, nearest
from onehop.files import os_errors

LARGEST = 2**63 - 1  # whole number that tensors hold


class Table(BaseModel):
    """A frozen table of settings that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _of_64_bits(self) -> Self:
        for key, value in self.__dict__.items():
            if isinstance(value, int) and abs(value) > LARGEST:
                raise ValueError(f"{key} is a number of {len(str(abs(value)))} digits; the largest is {LARGEST}")
        return self


T = TypeVar("T", bound=Table)


class SettingsError(ConfigError):
    """Every mistake of some settings, one a line.

    Args:
        lines: Each with its key.
        where: The file.
    """

    def __init__(self, lines: Sequence[str], where: str) -> None:
        many = f"{len(lines)} mistakes" if len(lines) > 1 else "a mistake"
        super().__init__(f"{many} in the settings:\n" + "\n".join(f"  - {line}" for line in lines), "", where)
        self.lines = list(lines)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file, or explain with its line why it is none."""
    with os_errors(path, "read"):
        data = Path(path).read_bytes()
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not all that tomllib raises is its own error
        raise ConfigError(
            f"not TOML: {error}",
            'Values of text stand in quotes: preset = "auto". Pairs of text go with --pairs.',
            str(path),
        ) from error


def override(data: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return `data` with each `table.key=value` applied. Values are TOML; a bare word is text.

    Example:
        >>> override({"train": {"seed": 1}}, ["train.seed=2", "model.preset=transformer-tiny"])
        {'train': {'seed': 2}, 'model': {'preset': 'transformer-tiny'}}
    """
    result: dict[str, Any] = copy.deepcopy(dict(data))
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or len(keys) < 2 or not all(keys):
            raise ConfigError(f"--set {setting!r} is not TABLE.KEY=VALUE", "For example: --set train.seed=2")
        table = result
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {setting!r}: {key!r} is a value, not a table", "Name one of its tables.")
        table[keys[-1]] = _toml_value(text.strip())
    return result


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def validate(table: type[T], data: Mapping[str, Any], where: str, prefix: str = "") -> T:
    """Build `table` from `data`, or raise one `SettingsError` that lists them all.

    Args:
        table: The class of settings.
        data: From a file and its overrides.
        where: The file, for the message.
        prefix: Dotted path of the table inside the file, such as `model.`.
    """
    try:
        return table.model_validate(data)
    except ValidationError as error:
        lines = [_explain(table, fault, prefix) for fault in error.errors()]  # type: ignore[arg-type]
    raise SettingsError(lines, where)


def _explain(table: type[Table], fault: Mapping[str, Any], prefix: str) -> str:
    path: tuple[Any, ...] = fault["loc"]
    name = (prefix + ".".join(str(part) for part in path)).rstrip(".")
    if fault["type"] == "extra_forbidden":
        known = _keys(table, path[:-1])
        hint = nearest(str(path[-1]), known) or f"known here: {', '.join(known)}"
        return f"{name}: unknown key; {hint}"
    if fault["type"] == "missing":
        return f"{name}: must be given"
    message = str(fault["msg"]).removeprefix("Value error, ")
    given = "" if fault["type"] == "value_error" else f" (given: {fault['input']!r})"  # our own messages name it
    return f"{name}: {message[:1].lower()}{message[1:]}{given}"


def _keys(table: type[BaseModel], path: Sequence[Any]) -> list[str]:
    """Return the keys of the table at `path`."""
    for part in path:
        field = table.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            table = inner
    return list(table.model_fields)
