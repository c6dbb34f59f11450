"""The trained model is shared by all tests of this folder."""

from tests.fixtures.tiny import one_thread, trained

__all__ = ["one_thread", "trained"]
