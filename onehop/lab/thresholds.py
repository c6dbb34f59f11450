"""The thresholds of all checks, read strictly from `thresholds.toml`, where each says why it stands where it does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from onehop.config import Table, read_toml, validate
from onehop.errors import ConfigError

FILE = Path(__file__).with_name("thresholds.toml")


class Threshold(Table):
    """How a measured value must compare with what."""

    what: str = Field(min_length=1, description="What is measured, in words.")
    compare: Literal["==", "<=", ">=", "<", ">"] = Field(description="How the measured value compares with `value`.")
    value: float = Field(description="The threshold.")
    reference: str = Field(min_length=1, description="What it is compared with: a paper, a library, or a closed form.")
    why: str = Field(min_length=1, description="Why the threshold stands where it does.")


def read_thresholds(path: str | Path = FILE) -> Mapping[tuple[str, str], Mapping[str, Threshold]]:
    """Return the thresholds of each (tier, row), by the names of what is measured.

    Raises:
        ConfigError: A key is unknown or missing, or a value is no number.

    Example:
        >>> read_thresholds()["T0", "T-01"]["parameters"].value
        44140544.0
    """
    found: dict[tuple[str, str], dict[str, Threshold]] = {}
    for tier, rows in read_toml(path).items():
        for row, measures in _table(rows, tier, path).items():
            prefix = f"{tier}.{row}"
            found[tier, row] = {
                name: validate(Threshold, _table(entry, f"{prefix}.{name}", path), str(path), f"{prefix}.{name}.")
                for name, entry in _table(measures, prefix, path).items()
            }
    return found


def _table(value: object, key: str, path: str | Path) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} is {value!r}", "Write a table: [TIER.ROW.MEASURE].", str(path))
    return value


@cache
def thresholds() -> Mapping[tuple[str, str], Mapping[str, Threshold]]:
    """Return those of the file that ships with Onehop, read once.

    Example:
        >>> thresholds()["T0", "A-15"]["fewer"].reference
        'Shazeer 2019: 6784'
    """
    return read_thresholds()
