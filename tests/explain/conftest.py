"""Fixtures of the tiny task."""

from tests.fixtures.tiny import one_thread, pairs, trained

__all__ = ["one_thread", "pairs", "trained"]
