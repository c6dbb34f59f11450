"""Each key of a recipe changes the run: its model, its log, its package or what is translated."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import BaseModel

import onehop
from onehop.errors import ConfigError
from onehop.files import Run
from onehop.models.transformer_config import TransformerConfig
from onehop.tasks import Translator
from onehop.text import EOS
from onehop.train import Recipe, fit, make_recipe, prepare, recompute, train, validation
from onehop.train.recipe import FILES
from tests.fixtures.tiny import log_rows, number_pairs, tables, write_pairs

LINES = ["One Two.", "Dr. Nine met Mr. Three. Zwei z. B. Drei.", "Ten."]


def keys(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the names of all settings of a recipe, those of the Transformer among them."""
    for name, info in table.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from keys(info.annotation, f"{prefix}{name}.")
        elif prefix + name != "model":
            yield prefix + name


KEYS = [*keys(Recipe), *keys(TransformerConfig, "model."), "model.architecture", "model.preset"]


class Outcome:
    """What came of a run, each part worked out when it is asked for."""

    def __init__(self, folder: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder, self.searches, self.scored, self.recomputed = folder, [], [], 0
        self.looked_at: list[int] = []
        look = prepare.check_store
        search, bleu, again = Translator.search, validation.bleu, recompute.checkpoint

        def heard(translator: Translator, sources: Any, decode: Any, nbest: int = 1) -> Any:
            self.searches.append((len(sources), decode.beam_size))
            return search(translator, sources, decode, nbest)

        def scored(hypotheses: Any, references: Any, tokenize: str) -> Any:
            self.scored.append(tokenize)
            falling = 100.0 - len(self.scored)  # BLEU and loss must disagree for `train.best` to matter
            return replace(bleu(hypotheses, references, tokenize), value=falling)

        def recomputed(*inputs: Any, **settings: Any) -> Any:
            self.recomputed += 1
            return again(*inputs, **settings)

        def looked(store: Any, validation: Any) -> Any:
            self.looked_at.append(len(store))
            return look(store, validation)

        look_patch = patch.object(prepare, "check_store", looked)
        patches = patch.object(Translator, "search", heard), patch.object(validation, "bleu", scored)
        with (
            patches[0],
            patches[1],
            patch.object(fit, "GOLDEN", 2),
            patch.object(recompute, "checkpoint", recomputed),
            look_patch,
        ):
            train(make_recipe(tables), folder)

    @cached_property
    def model(self) -> Translator:
        return onehop.load(self.folder)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(p.shape) for name, p in self.model.model.named_parameters()}

    @cached_property
    def weights(self) -> bytes:
        return (Run(self.folder).saved()[-1] / "weights.safetensors").read_bytes()

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in log_rows(self.folder) if name in row]

    @cached_property
    def evaluations(self) -> list[tuple[int, bool]]:
        return [(row["update"], row["best"]) for row in log_rows(self.folder) if row["kind"] == "evaluation"]

    @cached_property
    def checkpoints(self) -> list[str]:
        return [path.name for path in Run(self.folder).saved()]

    @cached_property
    def vocabulary(self) -> list[str]:
        return [tokenizer.to_json() for tokenizer in (self.model.source_tokenizer, self.model.target_tokenizer)]

    @cached_property
    def golden(self) -> list[str]:
        lines = (self.folder / "model/golden.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line)["source"] for line in lines]

    @cached_property
    def card(self) -> str:
        return (self.folder / "model/MODEL_CARD.md").read_text("utf-8")

    @cached_property
    def translations(self) -> list[Any]:
        return [(t.text, t.score, len(t.candidates)) for t in self.model.translate(LINES, long="cut")]

    @cached_property
    def eager_searches(self) -> tuple[list[int], int]:
        """Return lengths of translations, and steps taken for them, were the end mark likely everywhere."""
        model, steps = self.model.model, 0
        logits = model.logits

        def eager(hidden: Any) -> Any:
            nonlocal steps
            steps += 1
            scores = logits(hidden)
            scores[..., EOS] += 100
            return scores

        with patch.object(model, "logits", eager):
            found = self.model.translate(LINES[:1])[0].candidates[0]
        return [len(candidate.tokens) for candidate in found], steps

    @cached_property
    def beams(self) -> int:
        """Return how many hypotheses of a line are written at once, at most."""
        logits, rows = self.model.model.logits, list[int]()

        def heard(hidden: Any) -> Any:
            rows.append(len(hidden))
            return logits(hidden)

        with patch.object(self.model.model, "logits", heard):
            self.model.translate(LINES[:1])
        return max(rows)

    @cached_property
    def batches(self) -> list[tuple[int, ...]]:
        """Return the shapes in which lines are decoded."""
        shapes: list[tuple[int, ...]] = []
        encode = self.model.model.encode

        def heard(source: Any) -> Any:
            shapes.append(tuple(source.tokens.shape))
            return encode(source)

        with patch.object(self.model.model, "encode", heard):
            self.model.translate(LINES, long="cut")
        return shapes


Part = Callable[[Outcome], Any]


@dataclass(frozen=True)
class Case:
    """A changed value, and what it changes.

    Args:
        value: Of the key; a text in braces is a file's path.
        part: What must differ.
        beside: Other settings of both runs, under which the key matters.
        together: Settings that must change with the key.
    """

    value: Any
    part: Part
    beside: Mapping[str, Any] = field(default_factory=dict)
    together: Mapping[str, Any] = field(default_factory=dict)


def losses(outcome: Outcome) -> Any:
    return outcome.column("loss")


def rates(outcome: Outcome) -> Any:
    return outcome.column("learning_rate")


def targets(outcome: Outcome) -> Any:
    return outcome.column("num_targets")


def weights(outcome: Outcome) -> Any:
    return outcome.weights


def shipped(outcome: Outcome) -> Any:
    return (outcome.folder / "model/model.safetensors").read_bytes()


def shapes(outcome: Outcome) -> Any:
    return outcome.shapes


def evaluations(outcome: Outcome) -> Any:
    return outcome.evaluations


def checkpoints(outcome: Outcome) -> Any:
    return outcome.checkpoints


def vocabulary(outcome: Outcome) -> Any:
    return outcome.vocabulary


def golden(outcome: Outcome) -> Any:
    return outcome.golden


def card(outcome: Outcome) -> Any:
    return outcome.card


def translations(outcome: Outcome) -> Any:
    return outcome.translations


def eager_searches(outcome: Outcome) -> Any:
    return outcome.eager_searches


EACH = {"train.evaluate_every": 1, "train.max_updates": 3}
PARALLEL = {"data.pairs": [], "data.source": ["{en}"], "data.target": ["{de}"]}
TABLE = {"data.pairs": ["{csv}"], "data.source_column": "source", "data.target_column": "target"}
SAMPLE = {"decode.sample": True}
VALID = {"data.valid_source": ["{en}"], "data.valid_target": ["{de}"]}

# a rate at which the first update leaves nothing finite
BLOWN = {
    "train.init": "{parent}", "decode.max_length": 4, "train.learning_rate": 1e30, "train.schedule": "constant",
    "train.max_updates": 6,
}  # fmt: skip

HARD = {"model.cross_select": "hard"}
LOCAL = {"model.cross_region": "local-m", "model.cross_window": 1}
ROTARY = {"model.positions": "rotary"}

CASES = {
    "data.source": Case(["{en2}"], losses, PARALLEL),
    "data.target": Case(["{de2}"], losses, PARALLEL),
    "data.pairs": Case(["{pairs2}"], losses),
    "data.valid_source": Case(["{en2}"], golden, VALID),
    "data.valid_target": Case(["{de2}"], lambda run: run.column("loss")[-1], VALID),
    "data.valid_pairs": Case(["{pairs2}"], golden),
    "data.weights": Case([1.0, 3.0], losses, {"data.pairs": ["{pairs}", "{pairs2}"]}),
    "data.tags": Case(["", "old"], vocabulary, {"data.pairs": ["{pairs}", "{pairs2}"], "text.vocab_size": 310}),
    "data.source_column": Case("other", losses, TABLE),
    "data.target_column": Case("other", losses, TABLE),
    "data.source_language": Case("de", translations),
    "data.target_language": Case("ja", translations),
    "data.check": Case(False, lambda run: run.looked_at),
    "data.license": Case("CC0", card),
    "data.attribution": Case("By me.", card),
    "text.algorithm": Case("unigram", lambda run: run.model.source_tokenizer.algorithm),
    "text.vocab_size": Case(310, shapes),
    "text.joint": Case(False, shapes),
    "text.normalization": Case("nfkc", lambda run: run.model.source_tokenizer.normalise("ﬁ")),
    "text.coverage": Case(0.5, vocabulary, {"text.vocab_size": None}),
    "text.max_length": Case(3, targets, {"text.long": "cut"}),
    "text.bpe_dropout": Case(0.5, targets),
    "text.long": Case("drop", targets, {"text.max_length": 12, "text.long": "cut"}),
    "train.init": Case("{parent}", losses, {"decode.max_length": 4}),
    "train.max_updates": Case(3, lambda run: len(run.column("norm"))),
    "train.max_minutes": Case(1e-9, lambda run: len(run.column("norm"))),
    "train.batch_tokens": Case(200, targets),
    "train.packing": Case(True, lambda run: run.column("padding")),
    "train.accumulate": Case(2, targets),
    "train.schedule": Case("noam", rates),
    "train.learning_rate": Case(1e-3, rates),
    "train.warmup": Case(5, rates),
    "train.weight_decay": Case(5.0, weights),
    "train.betas": Case([0.5, 0.6], weights),
    "train.epsilon": Case(0.1, weights),
    "train.max_norm": Case(0.01, weights),
    "train.label_smoothing": Case(0.5, losses),
    "train.reinforce_reward": Case(2.0, weights, HARD),
    "train.reinforce_entropy": Case(0.5, weights, HARD),
    "train.reinforce_decay": Case(0.0, weights, {**HARD, "train.max_updates": 3}),
    "train.r_drop": Case(5.0, losses, {"model.dropout": 0.3}),
    "train.ema": Case(0.9, shipped),
    "train.average": Case(2, shipped, {"train.save_every": 1}),
    "train.precision": Case("bfloat16", losses),
    "train.activation_checkpointing": Case(True, lambda run: run.recomputed),
    "train.seed": Case(2, losses),
    "train.non_finite": Case("lower", rates, BLOWN),
    "train.evaluate_every": Case(1, evaluations),
    "train.save_every": Case(1, checkpoints),
    "train.tensorboard": Case(True, lambda run: (run.folder / "tensorboard").is_dir()),
    "train.keep": Case(1, checkpoints, {"train.save_every": 1}),
    "train.patience": Case(1, evaluations, EACH),
    "train.best": Case("loss", evaluations, EACH),
    "decode.beam_size": Case(4, lambda run: run.beams),
    "decode.length_penalty": Case("average", translations),
    "decode.alpha": Case(1.5, translations),
    "decode.min_length": Case(2, eager_searches),
    "decode.max_length": Case(5, translations),
    "decode.stop": Case("bound", eager_searches, {"decode.length_penalty": "average", "decode.max_length": 4}),
    "decode.no_repeat_ngram": Case(1, translations, {"decode.max_length": 8}),
    "decode.sample": Case(True, translations),
    "decode.temperature": Case(0.05, translations, SAMPLE),
    "decode.top_k": Case(1, translations, SAMPLE),
    "decode.top_p": Case(0.01, translations, SAMPLE),
    "decode.min_p": Case(1.0, translations, SAMPLE),
    "decode.seed": Case(2, translations, SAMPLE),
    "decode.batch_tokens": Case(30, lambda run: run.batches),
    "evaluate.sentences": Case(5, lambda run: run.searches[0]),
    "evaluate.beam_size": Case(3, lambda run: run.searches[0]),
    "evaluate.tokenize": Case("char", lambda run: run.scored),
    "model.preset": Case("transformer-tiny", shapes),
    "model.dim": Case(32, shapes),
    "model.ffn_dim": Case(32, shapes),
    "model.num_heads": Case(4, losses),
    "model.num_kv_heads": Case(1, shapes),
    "model.num_encoder_layers": Case(2, shapes),
    "model.num_decoder_layers": Case(2, shapes),
    "model.dropout": Case(0.5, losses),
    "model.attention_dropout": Case(0.5, losses),
    "model.activation_dropout": Case(0.5, losses),
    "model.word_dropout": Case(0.5, losses),
    "model.norm": Case("post", losses),
    "model.tying": Case("none", shapes),
    "model.normalise": Case("rms", shapes),
    "model.activation": Case("swiglu", shapes),
    "model.positions": Case("none", losses),
    "model.max_positions": Case(40, shapes, {"model.positions": "learned"}),
    "model.rotary_base": Case(100.0, losses, ROTARY),
    "model.rotary_factor": Case(4.0, losses, ROTARY),
    "model.rotary_scaling": Case("ntk", losses, {**ROTARY, "model.rotary_factor": 4.0}),
    "model.score": Case("dot", losses),
    "model.select": Case("sparsemax", losses),
    "model.window": Case(1, losses),
    "model.cross_score": Case("additive", shapes),
    "model.cross_select": Case("entmax", losses),
    "model.hard_expected": Case(0.0, losses, HARD),
    "model.gumbel_temperature": Case(0.2, weights, {"model.cross_select": "gumbel"}),
    "model.cross_region": Case("local-p", shapes),
    "model.cross_window": Case(3, losses, LOCAL),
    "model.encoder_kv_heads": Case(1, shapes),
    "model.decoder_kv_heads": Case(1, shapes),
    "model.cross_kv_heads": Case(1, shapes),
    "model.final_norm": Case(False, shapes),
    "model.attention_bias": Case(True, shapes),
    "model.output_bias": Case(True, shapes),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, Any]], Outcome]:
    """Return a function from changed settings to the outcome of a run, which is trained but once."""
    folder = tmp_path_factory.mktemp("keys")
    files = {"pairs": write_pairs(folder / "pairs.tsv", number_pairs(60))}
    for end, seed in (("", 5), ("2", 6)):
        pairs = number_pairs(60, seed)
        files["pairs" + end] = write_pairs(folder / f"pairs{end}.tsv", pairs)
        for place, language in enumerate(("en", "de")):
            path = folder / f"side{end}.{language}"
            path.write_text("".join(pair[place] + "\n" for pair in pairs), "utf-8")
            files[language + end] = str(path)
    rows = [f"{source},{target},{target[::-1]}\n" for source, target in number_pairs(60)]
    (folder / "table.csv").write_text("source,target,other\n" + "".join(rows), "utf-8")
    files["csv"] = str(folder / "table.csv")
    files["parent"] = str(folder / "parent")
    train(make_recipe(tables(files["pairs"], train={"seed": 9})), folder / "parent")
    done: dict[str, Outcome] = {}

    def outcome(changes: Mapping[str, Any]) -> Outcome:
        name = json.dumps(changes, sort_keys=True)
        if name not in done:
            recipe = tables(files["pairs"])
            for key, value in changes.items():
                table, _, key = key.partition(".")
                is_files = table == "data" and key in FILES
                recipe[table][key] = [each.format(**files) for each in value] if is_files else value
                if key == "init":
                    recipe[table][key] = str(value).format(**files)
            if recipe["model"].get("preset"):
                recipe["model"] = {"preset": recipe["model"]["preset"]}
            done[name] = Outcome(folder / str(len(done)), recipe)
        return done[name]

    return outcome


def test_every_key_has_a_case():
    assert sorted(CASES) == sorted(set(KEYS) - {"model.architecture"})


@pytest.mark.parametrize("key", CASES)
def test_changing_a_key_changes_the_run(runs, key):
    case = CASES[key]
    base, changed = runs(case.beside), runs({**case.beside, **case.together, key: case.value})
    assert case.part(base) != case.part(changed)


def test_a_run_with_the_same_keys_is_the_same(runs, tmp_path):
    base = runs({})
    again = Outcome(tmp_path / "again", make_recipe(tables(str(base.folder.parent / "pairs.tsv"))).model_dump())
    for part in (losses, rates, targets, weights, shapes, evaluations, vocabulary, golden, card, translations):
        assert part(base) == part(again)
    assert (base.searches, base.scored, base.batches) == (again.searches, again.scored, again.batches)


def test_the_architecture_decides_which_model_is_built(tmp_path):
    with pytest.raises(ConfigError, match="unknown architecture 'perceptron'"):
        make_recipe({"data": {"pairs": ["p.tsv"]}, "model": {"architecture": "perceptron"}})
