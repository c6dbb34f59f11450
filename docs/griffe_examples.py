"""Let the reference show `Example:` sections of docstrings as code, as it does `Examples:` by itself."""

from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rewrites the title of the section before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Take an object as soon as its members are known."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
