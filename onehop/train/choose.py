"""What a recipe leaves open, chosen by the data, and told: size, rates, vocabulary, lengths, duration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from onehop.data import Pair, PairStore
from onehop.errors import ConfigError
from onehop.metrics import tokenizer_for
from onehop.models.inert import without_effect
from onehop.models.reach import within_reach
from onehop.models.registry import configure
from onehop.tasks.settings import TextLimits
from onehop.text import LEAST_VOCAB_SIZE, Tokenizer, default_max_length, split_sentences, train_tokenizer
from onehop.train.recipe import Recipe, TextConfig, TrainConfig
from onehop.train.size import PLANS, Plan, learning_rate

FEWEST = 1_000  # updates, where none are asked for: fewer would end while the learning rate still rises
POST_NORM_WARMUP = (400, 2_000)  # updates, of a short run and of a long one
Tell = Callable[[str], None]


def tell_left_out(store: PairStore, valid: PairStore | None, what: str, tell: Tell) -> None:
    """Tell how many examples were left out of the training files, and of those for validation, if there are any."""
    for one, whose in ((store, ""), (valid, " of your validation files")):
        if one is not None and one.num_skipped:
            tell(f"data: {one.num_skipped:,} {what}{whose} were left out")


def fill(recipe: Recipe, chosen: Plan, num_pairs: int, tell: Tell) -> Recipe:
    """Fill in what the recipe leaves open from the plan, and resolve the model's settings."""
    model = {"architecture": "transformer", **recipe.model}
    name = model.pop("architecture")
    preset = model.pop("preset", None if recipe.train.init or name != "transformer" else "auto")
    if preset == "auto":
        if name != "transformer":
            raise ConfigError(f"preset 'auto' is for the transformer, not {name!r}", "Name a preset.", "model.preset")
        why = chosen.why if chosen.model.keys() - model.keys() else "given a model by the recipe"
        model = {**chosen.model, **model}
        tell(f"size: {num_pairs:,} pairs are {why}; {_shape(model)}")
    elif preset is not None:
        model["preset"] = preset
    settings = configure(name, model)
    train, text, resolved = recipe.train, recipe.text, settings.model_dump()
    for line in [*without_effect(name, settings), *_without_draws(train, resolved)]:
        tell(f"settings: {line}")
    updates = {
        "batch_tokens": train.batch_tokens or chosen.batch_tokens,
        "learning_rate": train.learning_rate or peak(train, resolved["dim"]),
        "warmup": train.warmup or warmup(train, chosen, resolved),
    }
    return recipe.model_copy(
        update={
            "model": {"architecture": name, **resolved},
            "train": train.model_copy(update=updates),
            "text": text.model_copy(update={"vocab_size": text.vocab_size or chosen.vocab_size}),
        }
    )


def _without_draws(train: TrainConfig, model: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each setting of hard attention's estimator, where nothing is drawn."""
    if "hard" in (model.get("select"), model.get("cross_select")):
        return []
    keys = [key for key in TrainConfig.model_fields if key.startswith("reinforce_")]
    changed = [key for key in keys if getattr(train, key) != TrainConfig.model_fields[key].default]
    return [
        f"{key}={getattr(train, key)!r} has no effect without select='hard' or cross_select='hard'" for key in changed
    ]


def peak(train: TrainConfig, dim: int) -> float:
    """Return the peak rate for a model of that width, or the factor for noam; a third of it where a model is continued.

    At the full peak the first updates undo what the weights know before the rate falls; at a tenth, in the updates that
    a small text allows, they hardly learn the new text.
    """
    rate = 1.0 if train.schedule == "noam" else learning_rate(dim)
    return rate / 3 if train.init else rate


def warmup(train: TrainConfig, chosen: Plan, model: Mapping[str, Any]) -> int:
    """Return the updates until the peak: the plan's, or more for post-LN, which a quick start makes useless for good.

    Its gradients are largest near the output at first (Xiong 2020, section 3); published settings take 2,000 to 4,000
    of many thousand updates. On Multi30k 400 of 3,000 are enough (`recipes/ladder/multi30k-t01.toml`).
    """
    if model.get("norm") != "post":
        return chosen.warmup
    least, most = POST_NORM_WARMUP
    updates = train.max_updates
    return min(most, max(updates // 7, min(least, 2 * updates // 5))) if updates else max(chosen.warmup, most)


def precision(train: TrainConfig, device: str, tell: Tell, *, pretrained: bool = False) -> TrainConfig:
    """Resolve the precision `auto`: bfloat16 where the device multiplies it as such, else float32.

    Where it was left out, `pretrained` encoders have `auto`: nearly all of their time goes into products.
    """
    wanted = train.precision or ("auto" if pretrained else "float32")
    if wanted != "auto":
        return train.model_copy(update={"precision": wanted})
    native = multiplies_bfloat16(torch.device(device).type)
    chosen = "bfloat16" if native else "float32"
    tell(f"precision: {chosen}, since this device {'multiplies' if native else 'does not multiply'} bfloat16 as such")
    return train.model_copy(update={"precision": chosen})


def multiplies_bfloat16(kind: str) -> bool:
    """Whether a kind of device has instructions for bfloat16; elsewhere it is slower than float32."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]


def judge(recipe: Recipe, validation: Sequence[Pair], tell: Tell) -> Recipe:
    """Choose the figure that decides which model is kept: BLEU counts runs of four words, which short lines lack."""
    if recipe.train.best:
        return recipe
    words = [len(pair.target.split()) for pair in validation]
    unspaced = tokenizer_for(recipe.data.target_language) != "13a"
    long = unspaced or not words or sum(words) >= 4 * len(words)
    if not long:
        tell(
            "validation: lines of fewer than 4 words, too short for BLEU, so the loss decides which model is kept; "
            "if the target is written without spaces, set data.target_language"
        )
    train = recipe.train.model_copy(update={"best": "bleu" if long else "loss"})
    return recipe.model_copy(update={"train": train})


def _shape(model: dict[str, Any]) -> str:
    return (
        f"{model['dim']} wide, {model['num_encoder_layers']}+{model['num_decoder_layers']} layers, "
        f"dropout {model['dropout']}"
    )


def vocabularies(
    recipe: Recipe, lines: Sequence[Pair], asked: int | None, tell: Tell, tags: Sequence[str] = ()
) -> tuple[Tokenizer, Tokenizer]:
    """Train the vocabulary of both sides, or one for each.

    Args:
        recipe: Filled in.
        lines: To learn from.
        asked: The size that the user wrote, which must be reached; one that was chosen here may shrink.
        tell: Hears the sizes.
        tags: Control tokens that both shall have besides.

    Raises:
        ConfigError: The user asked for more pieces than the text can give.
    """
    text, wanted = recipe.text, recipe.text.vocab_size or PLANS[0].vocab_size
    sides = [[pair.source for pair in lines], [pair.target for pair in lines]]
    corpora = [sides[0] + sides[1]] if text.joint else sides
    found, size = _at_most(corpora, wanted, text, tags)
    if asked and size < asked:
        least = LEAST_VOCAB_SIZE + len(tags)
        while size >= least and (fewer := _at_most(corpora, size, text, tags)[1]) < size:
            size = fewer  # a smaller vocabulary has less room for characters, so it may give fewer still
        smaller = f"Use text.vocab_size = {size}, or leave" if size >= least else "Leave"
        raise ConfigError(
            f"the text gives no more than {size} pieces, not {asked}",
            f"{smaller} it out to have it chosen; or give more text.",
            "text.vocab_size",
        )
    for tokenizer, side in zip(found, ["joint"] if text.joint else ["source", "target"], strict=True):
        fewer = f"; the text gives no more, {wanted:,} were planned" if tokenizer.vocab_size < wanted else ""
        tell(f"text: {side} vocabulary of {tokenizer.vocab_size:,} pieces{fewer}")
    return found[0], found[-1]


def _at_most(
    corpora: Sequence[Sequence[str]], size: int, text: TextConfig, tags: Sequence[str]
) -> tuple[list[Tokenizer], int]:
    """Return a tokenizer for each corpus, and the size of the smallest."""
    found = [
        train_tokenizer(corpus, size, text.algorithm, text.normalization, text.coverage, tags) for corpus in corpora
    ]
    return found, min(tokenizer.vocab_size for tokenizer in found)


def lengths(
    recipe: Recipe, lines: Sequence[Pair], tokenizers: tuple[Tokenizer, Tokenizer], tell: Tell
) -> tuple[Recipe, TextLimits, str, float]:
    """Choose the longest line and what becomes of longer ones, unless the user did; also tell a pair's mean length."""
    some = lines[:: max(1, len(lines) // 30_000)]
    sides = (
        tokenizers[0].encode_batch([p.source for p in some]),
        tokenizers[1].encode_batch([p.target for p in some]),
    )
    longest = [max(len(a), len(b)) for a, b in zip(*sides, strict=True)]
    given = recipe.text.max_length
    max_length = within_reach(given or default_max_length(longest), bool(given), recipe.model, writes=True)
    policy = recipe.text.long or ("error" if given else "drop")
    if not given:
        fate = {"drop": "are dropped", "cut": "are cut", "error": "are an error"}[policy]
        share = 100 * sum(length <= max_length for length in longest) / len(longest)
        tell(f"text: lines of up to {max_length} tokens, which holds {share:.1f} % of them; longer ones {fate}")
    few = some[:: max(1, len(some) // 1_000)]
    language = recipe.data.source_language or "en"
    single = sum(len(split_sentences(pair.source, language)) <= 1 for pair in few)
    limits = TextLimits(max_length=max_length, sentences=single >= 0.9 * len(few))
    text = recipe.text.model_copy(update={"max_length": max_length, "long": policy})
    return recipe.model_copy(update={"text": text}), limits, policy, sum(longest) / len(longest) + 1


def duration(train: TrainConfig, tokens: float, tell: Tell) -> TrainConfig:
    """Fill in how long to train, where the recipe sets no limit: until so many tokens of the longer side are seen."""
    if train.max_updates or train.max_minutes:
        return train
    updates = max(FEWEST, round(tokens / (train.tokens * train.accumulate)))
    tell(f"length: {updates:,} updates, {tokens / 1e6:,.1f} million tokens")
    return train.model_copy(update={"max_updates": updates})


def guess_tokens(lines: Sequence[Pair]) -> float:
    """Guess the tokens of a pair's longer side, before there is a vocabulary: four bytes make one."""
    some = lines[:: max(1, len(lines) // 10_000)]
    sizes = [max(len(side.encode("utf-8", "surrogatepass")) for side in pair) for pair in some]
    return sum(sizes) / max(1, len(sizes)) / 4


def thread_seconds(train: TrainConfig, device: str) -> float | None:
    """Return the seconds of one thread that there are, on a processor, if minutes are limited."""
    if train.max_minutes is None or device != "cpu":
        return None
    return 60 * train.max_minutes * torch.get_num_threads()
