"""What docstrings promise: every example runs, and every public function has one."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import pytest
import torch

import onehop
from tests.fixtures.labelled import reviews, write_reviews

PUBLIC = ("nn", "models", "decode", "text", "data", "metrics", "tasks", "evaluate", "explain", "verify", "train", "lab")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(onehop.__path__, "onehop.")
    if not module.name.endswith("__main__")
    and ".workers." not in module.name  # scripts, run by the Python of an environment that lacks Onehop
)

RECIPE = """
[data]
source = ["my.en"]
target = ["my.de"]

[text]
max_length = 16

[model]
dim = 32
ffn_dim = 64
num_heads = 2
num_encoder_layers = 1
num_decoder_layers = 1

[train]
max_updates = 30
batch_tokens = 200
warmup = 5
evaluate_every = 30

[evaluate]
sentences = 5

[decode]
min_length = 1
"""


def examples() -> list[doctest.DocTest]:
    """Return the examples of every docstring of the package."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name), name)]
    return [test for test in found if test.examples]


def public() -> list[tuple[str, Any]]:
    """Return the public functions and classes, by name."""
    packages = [importlib.import_module(f"onehop.{name}") for name in PUBLIC]
    names = [(f"{package.__name__}.{name}", getattr(package, name)) for package in packages for name in package.__all__]
    return [(name, thing) for name, thing in names if inspect.isclass(thing) or inspect.isroutine(thing)]


REVIEWS = """
task = "classify"

[data]
train = ["rooms.csv"]

[model]
architecture = "hierarchical"
dim = 16
hidden_dim = 16

[train]
max_updates = 40
learning_rate = 0.02
"""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `recipe.toml` and a small run of it, `runs/first`; and of a classifier, `runs/reviews`."""
    folder = tmp_path_factory.mktemp("docstrings")
    pairs = [(f"Hello {n}.", f"Hallo {n}.") for n in range(200)]
    for name, side in (("my.en", 0), ("my.de", 1)):
        (folder / name).write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    onehop.train(folder / "recipe.toml", folder / "runs/first")
    write_reviews(folder / "rooms.csv", reviews(300))
    (folder / "reviews.toml").write_text(REVIEWS, encoding="utf-8")
    onehop.train(folder / "reviews.toml", folder / "runs/reviews")
    return folder


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name)
def test_every_example_runs(test: doctest.DocTest, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    text = "".join(example.source for example in test.examples)
    if "runs/" in text or "recipe.toml" in text:
        monkeypatch.chdir(request.getfixturevalue("run"))
    test.globs = {**test.globs, "torch": torch, "onehop": onehop}
    printed: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=printed.append)
    assert not printed, "".join(printed)


@pytest.mark.parametrize(("name", "thing"), public(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_public_name_says_what_it_is(name: str, thing: Any):
    written = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert written, f"{name} has no docstring"
    assert not written.startswith(f"{thing.__name__}("), f"{name} has only the docstring that dataclass makes"


@pytest.mark.parametrize(
    ("name", "thing"),
    [item for item in public() if inspect.isroutine(item[1])],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_public_function_has_an_example(name: str, thing: Any):
    assert ">>>" in (thing.__doc__ or ""), f"{name} has no example"
