"""Fixtures of the tiny task."""

from tests.fixtures.tiny import one_thread, pairs

__all__ = ["one_thread", "pairs"]
