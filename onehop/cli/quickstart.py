"""TODO."""


def quickstart() -> None:
    """TODO."""
