"""The lab: every mechanism and claim of the notes as an experiment, with a threshold that was set beforehand.

`rows` is the table of all, `thresholds.toml` says what each must measure, `run` runs them. A check is a plain function
of a few lines on the public interfaces, in one file for each group of rows; read it to see what the mechanism is.
"""

from onehop.lab.experiments import Report, check, run
from onehop.lab.measured import Figure, Finding, Grid, Measured, Result
from onehop.lab.rows import CHAPTERS, ROWS, TIERS, Row, choose, load_check
from onehop.lab.thresholds import Threshold, read_thresholds, thresholds

__all__ = [
    "CHAPTERS", "ROWS", "TIERS", "Figure", "Finding", "Grid", "Measured", "Report", "Result", "Row", "Threshold",
    "check", "choose", "load_check", "read_thresholds", "run", "thresholds",
]  # fmt: skip
