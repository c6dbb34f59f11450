"""Adapters from the recipe to the package: what is held, what is stored, which base they take, how they go on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from onehop.errors import ConfigError, ModelError, OnehopError
from onehop.files import Run
from onehop.tasks import load_package, save_package
from onehop.tasks.adapters import adapter_of
from onehop.tasks.foreign import save_checkpoint
from onehop.tasks.package import merge_package
from onehop.train import make_recipe, train
from onehop.verify import verify
from tests.fixtures.labelled import reviews, write_reviews
from tests.fixtures.tiny import onehop as command

CHECKPOINTS = Path(__file__).parents[1] / "fixtures" / "checkpoints"
BASE = CHECKPOINTS / "BertModel"
TEXTS = ["The room was lovely.", "a dog ran", "dirty"]


def recipe(folder: Path, **changes: Any) -> Any:
    table = write_reviews(folder / "rooms.csv", reviews(60, sentences=1))
    steps = {"max_updates": 6, "evaluate_every": 3, "save_every": 2, "init": str(BASE), "lora_rank": 2, **changes}
    return make_recipe({"task": "classify", "data": {"train": [table]}, "train": steps})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that learnt an adapter."""
    folder = tmp_path_factory.mktemp("adapter")
    train(recipe(folder, learning_rate=0.1), folder / "run")
    return folder / "run"


def scores(task: Any) -> torch.Tensor:
    return torch.tensor([list(found.scores.values()) for found in task.predict(TEXTS)])


def test_the_encoder_is_held_and_the_package_has_the_changes_and_the_head_alone(run: Path):
    base, task = load_package(BASE).task, load_package(run).task
    begun = {f"encoder.{name}": value for name, value in base.model.encoder.named_parameters()}
    found = dict(task.model.named_parameters())
    assert all(torch.equal(found[name], value) for name, value in begun.items())
    assert all(value.abs().max() > 0 for name, value in found.items() if name.endswith("lora_b"))
    stored = load_file(run / "model" / "model.safetensors")
    assert set(stored) == set(found) - set(begun)
    assert {name.rpartition(".")[2] for name in stored if name.startswith("encoder.")} == {"lora_a", "lora_b"}
    entry = json.loads((run / "model" / "onehop.json").read_text())["adapter"]
    assert (entry["rank"], entry["alpha"], entry["targets"]) == (2, 16.0, ["query", "value"])
    assert not entry["base"].startswith("/")
    assert "encoder.embeddings.tokens.weight" not in load_file(Run(run).saved()[-1] / "weights.safetensors")
    assert 'lora_targets = ["query", "value"]' in (run / "recipe.toml").read_text()
    assert "learning_rate = 0.1" in (run / "recipe.toml").read_text()
    assert "layer_decay" not in (run / "recipe.toml").read_text()


def test_every_way_to_run_it_gives_the_same(run: Path, tmp_path: Path):
    package = load_package(run)
    apart, alone = scores(package.task), scores(merge_package(package).task)
    assert (apart - alone).abs().max() < 1e-6
    assert (apart - scores(package.task.fast())).abs().max() < 1e-5
    save_checkpoint(package.task, tmp_path / "hf")
    assert (apart - scores(load_package(tmp_path / "hf").task)).abs().max() < 1e-6
    report = verify(package)
    assert report.passed
    assert "merged = apart" in [check.name for check in report.checks]


def test_export_merges_moves_and_rounds_an_adapter(run: Path, tmp_path: Path):
    assert command("export", run, tmp_path / "whole", "--merge").status == 0
    whole = load_package(tmp_path / "whole")
    assert adapter_of(whole.task) is None
    assert (scores(whole.task) - scores(load_package(run).task)).abs().max() < 1e-6
    shutil.copytree(BASE, tmp_path / "elsewhere")
    moved = command("export", run, tmp_path / "moved", "--base", tmp_path / "elsewhere")
    assert moved.status == 0, moved.err
    assert json.loads((tmp_path / "moved" / "onehop.json").read_text())["adapter"]["base"] == "../elsewhere"
    assert torch.equal(scores(load_package(tmp_path / "moved").task), scores(load_package(run).task))
    assert command("export", run, tmp_path / "half", "--precision", "float16").status == 0
    assert load_package(tmp_path / "half").precision == "float16"
    for arguments in (("--merge",), ("--base", BASE)):
        again = command("export", tmp_path / "whole", tmp_path / "no", *arguments)
        assert (again.status, "no adapter" in again.err) == (2, True)
    told = command("info", run, "--json")
    assert json.loads(told.out)["adapter"]["rank"] == 2


def test_another_base_or_none_is_refused(run: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="an adapter of another base: it was trained on an encoder with the SHA-256"):
        load_package(run, base=CHECKPOINTS / "RobertaModel")
    changed = load_package(BASE)
    with torch.no_grad():
        changed.task.model.encoder.embeddings.tokens.weight[7, 0] += 1e-3
    save_package(changed, tmp_path / "changed")
    with pytest.raises(ModelError, match="an adapter of another base") as told:
        load_package(run, base=tmp_path / "changed")
    assert "--base MODEL" in (told.value.remedy or "")
    shutil.copytree(run / "model", tmp_path / "deep" / "er" / "alone")
    with pytest.raises(ModelError, match=r"an adapter, whose base '.*BertModel' cannot be loaded: no such model"):
        load_package(tmp_path / "deep" / "er" / "alone")
    with pytest.raises(ModelError, match="cannot be loaded: it is an adapter itself"):
        load_package(run, base=run)
    save_package(load_package(BASE), tmp_path / "ours")  # the same encoder in another form
    assert torch.equal(scores(load_package(run, base=tmp_path / "ours").task), scores(load_package(run).task))


def test_a_run_that_was_interrupted_ends_in_the_same_bytes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = recipe(run.parent, learning_rate=0.1)
    train(given, run.parent / "whole")
    from onehop.train import fit

    for place, update in (("early", 2), ("late", 4)):  # before and after there is a package
        with monkeypatch.context() as patch:
            over = fit.Fit._over

            def stop(self: Any, update: int = update, over: Any = over) -> bool:
                if self.progress.update == update:
                    raise KeyboardInterrupt
                return over(self)

            patch.setattr(fit.Fit, "_over", stop)
            with pytest.raises(KeyboardInterrupt):
                train(given, run.parent / place)
        assert (run.parent / place / "model").is_dir() is (place == "late")
        train(given, run.parent / place, resume=True)
        for name in ("model.safetensors", "onehop.json"):
            assert (run.parent / place / "model" / name).read_bytes() == (
                run.parent / "whole/model" / name
            ).read_bytes()


def test_an_adapter_goes_on_as_itself_or_merged_but_not_as_another(run: Path, tmp_path: Path):
    one = train(recipe(tmp_path, init=str(run), max_updates=1), tmp_path / "same")
    same, begun = load_package(one.model).task, load_package(run).task
    assert adapter_of(same).sha256 == adapter_of(begun).sha256
    assert Path(adapter_of(same).base).resolve() == BASE
    two = train(recipe(tmp_path, init=str(run), lora_rank=None, max_updates=1), tmp_path / "merged")
    whole = load_package(two.model).task
    assert adapter_of(whole) is None
    weight = "encoder.blocks.0.attention.projections.query.weight"
    moved = dict(whole.model.named_parameters())[weight] - dict(begun.model.named_parameters())[weight]
    assert moved.abs().max() > 1e-3  # its change is in the weight now
    with pytest.raises(ConfigError, match=r"an adapter of another shape \(lora_rank = 2") as told:
        train(recipe(tmp_path, init=str(run), lora_rank=1), tmp_path / "other")
    assert "--merge" in (told.value.remedy or "")


def test_seeds_keep_an_adapter_that_finds_its_base(tmp_path: Path):
    from onehop.train.seeds import train_seeds

    train_seeds(recipe(tmp_path, max_updates=1), tmp_path / "runs", 2)
    assert adapter_of(load_package(tmp_path / "runs").task) is not None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"frozen": True}, "frozen lets nothing of an encoder learn"),
        ({"fresh_layers": 1}, "fresh_layers draws blocks that lora_rank holds"),
        ({"lora_rank": None, "lora_alpha": 8.0}, "lora_alpha says nothing without lora_rank"),
        ({"lora_rank": None, "lora_targets": ["key"]}, "lora_targets says nothing without lora_rank"),
        ({"lora_rank": None, "lora_dropout": 0.1}, "lora_dropout says nothing without lora_rank"),
        ({"lora_targets": ["key", "key"]}, "names a map twice"),
        ({"lora_targets": ["gate"]}, "no linear map named gate"),
        ({"lora_rank": 99}, "a rank of 99 for a map from 8 to 8"),
        ({"init": None}, "nothing to keep"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(tmp_path: Path, changes: dict[str, Any], problem: str):
    with pytest.raises(OnehopError, match=problem):
        train(recipe(tmp_path, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_key_changes_what_is_learnt(tmp_path: Path):
    def losses(name: str, **changes: Any) -> list[float]:
        train(recipe(tmp_path, max_updates=3, learning_rate=0.1, **changes), tmp_path / name)
        rows = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if row["kind"] == "update"]

    base = losses("base")
    for name, changes in {
        "rank": {"lora_rank": 3}, "alpha": {"lora_alpha": 1.0}, "targets": {"lora_targets": ["up"]},
        "dropout": {"lora_dropout": 0.5}, "none": {"lora_rank": None},
    }.items():  # fmt: skip
        assert losses(name, **changes) != base, name


def test_taggers_regressors_and_models_that_answer_learn_adapters_too(tmp_path: Path):
    from tests.fixtures.asked import paragraphs, write_squad
    from tests.fixtures.tagged import meetings, write_conll

    tagged = write_conll(tmp_path / "a.conll", meetings(40))
    table = tmp_path / "n.csv"
    table.write_text("text,score\n" + "".join(f"the cat {'sat ' * (n % 5)},{n % 5}\n" for n in range(40)))
    questions = write_squad(tmp_path / "q.json", paragraphs(10))
    for task, data in (("tag", tagged), ("regress", table), ("answer", questions)):
        steps = {"max_updates": 1, "init": str(BASE), "lora_rank": 2}
        made = train(make_recipe({"task": task, "data": {"train": [str(data)]}, "train": steps}), tmp_path / task)
        package = load_package(made.model)
        assert adapter_of(package.task) is not None, task
        assert adapter_of(merge_package(package).task) is None
