"""Verification: whether a finished model does on this machine, and on one's own lines, what Onehop promises of it."""

from onehop.verify.margins import NEAR_TIE, margin, neutral
from onehop.verify.report import Check, Report
from onehop.verify.run import CHECKS, verify
from onehop.verify.subject import Lines, fixed_lines, read_data

__all__ = ["CHECKS", "NEAR_TIE", "Check", "Lines", "Report", "fixed_lines", "margin", "neutral", "read_data", "verify"]
