"""How fast a model runs on this machine: Onehop's own ways beside those of whichever rivals are installed.

Each system is a process that stays; requests take turns, so that what else the machine does falls on all alike. Outputs
are compared. Nothing here decides who wins: the report holds medians, spreads and what was equal.
"""

from onehop.bench.report import Report, Row
from onehop.bench.run import bench
from onehop.bench.systems import Missing, System, systems_for

__all__ = ["Missing", "Report", "Row", "System", "bench", "systems_for"]
