"""From a checkpoint of `transformers` to a task, and from a task to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from onehop.errors import ModelError
from onehop.files import new_folder, to_json
from onehop.metrics.schemes import OUTSIDE, find_scheme
from onehop.models.checkpoint import LAYOUTS, class_of, layout, lines
from onehop.models.encoders import configure_encoder
from onehop.models.keys import to_theirs
from onehop.tasks.adapters import merged
from onehop.tasks.answer_settings import AnswerSettings, ContextLimits
from onehop.tasks.answering import Answerer
from onehop.tasks.checkpoints import Checkpoint
from onehop.tasks.choosing import Chooser, ChooseSettings
from onehop.tasks.classification import Classifier
from onehop.tasks.classify_settings import ClassifySettings, DocumentLimits, HeadConfig
from onehop.tasks.embedding import Embedder, EmbedSettings
from onehop.tasks.framed import FRAME
from onehop.tasks.multilabel import Multilabeller, MultilabelSettings
from onehop.tasks.tag_settings import TagHead, TagSettings, WordLimits
from onehop.tasks.tagging import Tagger
from onehop.tasks.tensors import WHOLE
from onehop.tasks.weights import Undrawn, put
from onehop.text.pretrained import PretrainedTokenizer

CLASSIFIER = {"pooling.transform.": "heads.{sentence}.", "output.": "heads.{head}."}  # its names, and a checkpoint's


def task_of(checkpoint: Checkpoint) -> Any:
    """Return what a checkpoint is for: by its head a `Classifier`, `Tagger` or `Answerer`, without one an `Embedder`.

    Raises:
        ModelError: It is for what Onehop has no task for.
    """
    if checkpoint.use == "classify":
        several = checkpoint.config.get("problem_type") == "multi_label_classification"
        return _multilabeller(checkpoint) if several else _classifier(checkpoint)
    if checkpoint.use in ("embed", "mlm"):
        return _embedder(checkpoint)
    if checkpoint.use in ("tag", "answer") and type(checkpoint.model.heads[checkpoint.use]) is nn.Linear:
        return _tagger(checkpoint) if checkpoint.use == "tag" else _answerer(checkpoint)
    if checkpoint.use == "choose":
        return _chooser(checkpoint)
    raise ModelError(
        f"a checkpoint of the class {checkpoint.class_name}, which has no verb yet",
        "Its weights can be read: onehop.tasks.load_checkpoint. Verbs use classifiers, taggers, models that answer, "
        "encoders.",
        str(checkpoint.path),
    )


def _limits(checkpoint: Checkpoint) -> DocumentLimits:
    return DocumentLimits(max_length=max(1, checkpoint.max_length - FRAME), sentences=False)


def _rows(checkpoint: Checkpoint) -> int:
    return checkpoint.model.encoder.embeddings.tokens.num_embeddings


def _embedder(checkpoint: Checkpoint) -> Embedder:
    settings = EmbedSettings(
        architecture=checkpoint.layout.architecture, model=dict(checkpoint.settings), rows=_rows(checkpoint),
        heads=list(checkpoint.heads), pooling=checkpoint.reading.pooling, unit=checkpoint.reading.unit,  # type: ignore[arg-type]
        text=_limits(checkpoint),
    )  # fmt: skip
    return Embedder(checkpoint.model, checkpoint.tokenizer, settings)


def _classifier(checkpoint: Checkpoint) -> Classifier:
    problem = checkpoint.config.get("problem_type")
    if len(checkpoint.labels) < 2 or problem == "regression":
        raise ModelError(
            f"a checkpoint for {problem or 'regression'}, which Onehop does not do yet",
            "Use one that chooses a label.",
            str(checkpoint.path),
        )  # fmt: skip
    return _of_labels(checkpoint, Classifier, ClassifySettings)


def _multilabeller(checkpoint: Checkpoint) -> Multilabeller:
    return _of_labels(checkpoint, Multilabeller, MultilabelSettings)


def _chooser(checkpoint: Checkpoint) -> Chooser:
    return _of_texts(checkpoint, Chooser, ChooseSettings)


def _of_labels(checkpoint: Checkpoint, kind: Any, settings: Any) -> Any:
    """Return a task of whole texts with a checkpoint's labels and weights."""
    return _of_texts(checkpoint, kind, settings, labels=list(checkpoint.labels))


def _of_texts(checkpoint: Checkpoint, kind: Any, settings: Any, **more: Any) -> Any:
    """Return a task of whole texts with a checkpoint's weights, and settings that only it has."""
    name, transform = checkpoint.layout.sentence
    values = settings(
        architecture=checkpoint.layout.architecture,
        model=dict(checkpoint.settings),
        rows=_rows(checkpoint),
        head=HeadConfig(pooling=_pooling(checkpoint), transform=transform, dropout=_dropout(checkpoint)),  # type: ignore[arg-type]
        text=_limits(checkpoint),
        **more,
    )  # fmt: skip
    with Undrawn():
        made = kind.build(values, checkpoint.tokenizer)
    theirs = dict(checkpoint.model.named_parameters())
    head = checkpoint.use
    put(made.model, {ours: theirs[_named(ours, name, head)] for ours, _ in made.model.named_parameters()})
    made.model.eval()
    return made


def _pooling(checkpoint: Checkpoint) -> str:
    """Return how a checkpoint's head reads the states of a text; those of ModernBERT may say so.

    Raises:
        ModelError: In a way that there is not.
    """
    found = checkpoint.config.get("classifier_pooling", "cls")
    if found not in ("cls", "mean"):
        problem = f"classifier_pooling={found!r}, which Onehop does not do"
        raise ModelError(problem, "It does cls and mean.", str(checkpoint.path))
    return found


def _tagger(checkpoint: Checkpoint) -> Tagger:
    scheme = find_scheme(checkpoint.labels)
    settings = TagSettings(
        architecture=checkpoint.layout.architecture,
        model=dict(checkpoint.settings),
        rows=_rows(checkpoint),
        head=TagHead(dropout=_dropout(checkpoint)),
        labels=list(checkpoint.labels),
        scheme=scheme if OUTSIDE in checkpoint.labels else "none",
        text=WordLimits(max_length=max(1, checkpoint.max_length - FRAME), words="punctuation"),
    )
    with Undrawn():
        tagger = Tagger.build(settings, checkpoint.tokenizer)
    return _put_each(tagger, checkpoint)


def _answerer(checkpoint: Checkpoint) -> Answerer:
    settings = AnswerSettings(
        architecture=checkpoint.layout.architecture,
        model=dict(checkpoint.settings),
        rows=_rows(checkpoint),
        text=ContextLimits(max_length=max(1, checkpoint.max_length - FRAME)),
    )
    with Undrawn():
        answerer = Answerer.build(settings, checkpoint.tokenizer)
    return _put_each(answerer, checkpoint)


def _put_each(task: Any, checkpoint: Checkpoint) -> Any:
    """Give a task of single tokens the weights of a checkpoint."""
    theirs = dict(checkpoint.model.named_parameters())
    begin = f"heads.{checkpoint.use}."
    ours = [name for name, _ in task.model.named_parameters()]
    put(
        task.model,
        {name: theirs[begin + name.removeprefix("output.") if name.startswith("output.") else name] for name in ours},
    )
    task.model.eval()
    return task


def _dropout(checkpoint: Checkpoint) -> float:
    """Return the dropout before a checkpoint's last map.

    Raises:
        ModelError: It is no share.
    """
    own = checkpoint.config.get("classifier_dropout")
    found = checkpoint.settings["dropout"] if own is None else own
    if type(found) not in (int, float) or not 0 <= found < 1:
        problem = f"classifier_dropout={found!r}, which is no share from 0 to 1"
        raise ModelError(problem, "Copy the checkpoint again.", str(checkpoint.path))
    return float(found)


def _named(ours: str, sentence: str, head: str = "classify") -> str:
    """Return the name that a parameter of a classifier has in a checkpoint's model."""
    for begin, theirs in CLASSIFIER.items():
        if ours.startswith(begin):
            return theirs.format(sentence=sentence, head=head) + ours.removeprefix(begin)
    return ours


# ------------------------------------------------------------------------------------------------ writing


def save_checkpoint(task: Any, folder: str | Path) -> str:
    """Write a task as a checkpoint that `transformers` loads, and return its class.

    Args:
        task: Of a family that `transformers` has, and no translation.
        folder: New, or replaced whole.

    Raises:
        ModelError: `transformers` has no such model.
        FileError: The folder cannot be written.
    """
    task = merged(task)
    settings = task.settings
    if settings.architecture not in LAYOUTS or not isinstance(
        task, Classifier | Multilabeller | Chooser | Embedder | Tagger | Answerer
    ):
        raise ModelError(
            f"a model of the architecture {settings.architecture!r}, which transformers does not have",
            f"Only {', '.join(dict.fromkeys(LAYOUTS))} can be written so.",
        )
    of = layout(settings.architecture)
    config: Any = configure_encoder(of.architecture, settings.model)
    model_type = next(iter(of.classes))
    use, heads, ours, more = _parts(task)
    name = class_of(of, model_type, use, heads)
    tensors = to_theirs(lines(of, config, heads, not name.endswith("Model")), ours)
    tokenizer: Any = task.tokenizer
    if not isinstance(tokenizer, PretrainedTokenizer):
        raise ModelError(
            "a model with Onehop's own vocabulary, which transformers does not have",
            "Only a model that began with a pretrained one (train.init) can be written so.",
        )
    written = {
        **of.write(config), **more, "architectures": [name], "model_type": model_type,
        "vocab_size": settings.rows or tokenizer.vocab_size, "torch_dtype": "float32",
    }  # fmt: skip
    marks = _marks(task)
    with new_folder(folder) as new:
        save_file(tensors, new / WHOLE, {"format": "pt"})
        (new / "config.json").write_text(to_json({"pad_token_id": tokenizer.pad, **written}), "utf-8")
        (new / "tokenizer.json").write_text(tokenizer.to_json(), "utf-8")
        longest = settings.text.max_length + FRAME
        about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest, **marks}
        (new / "tokenizer_config.json").write_text(to_json(about), "utf-8")
        (new / "special_tokens_map.json").write_text(to_json(marks), "utf-8")
    return name


def _parts(task: Any) -> tuple[Any, list[str], dict[str, Tensor], dict[str, Any]]:
    """Return the use, heads, weights and further settings of a task as a checkpoint has them."""
    values = {name: value.detach().cpu() for name, value in task.model.named_parameters()}
    if isinstance(task, Embedder):
        return "embed", list(task.settings.heads), values, {}
    if isinstance(task, Tagger | Answerer):
        return _each(task, values)
    of, head = layout(task.settings.architecture), task.settings.head
    sentence, transform = of.sentence
    poolings = ("cls", "mean") if of.architecture == "modernbert" else ("cls",)
    if head.transform != transform or head.pooling not in poolings:
        raise ModelError(
            f"a head of pooling={head.pooling!r} and transform={head.transform!r}, which transformers does not have",
            f"Train with head.pooling = 'cls' and head.transform = {transform!r} to write it so.",
        )
    if isinstance(task, Chooser):
        if "choose" not in of.uses:
            problem = f"a model that chooses, of the architecture {of.architecture!r}, for which transformers has none"
            raise ModelError(problem, "Begin with a checkpoint of another family to write it so.")
        named = {_named(name, sentence, "choose"): value for name, value in values.items()}
        return "choose", list(of.uses["choose"]), named, {"classifier_dropout": head.dropout}
    several = isinstance(task, Multilabeller)
    problem = "multi_label_classification" if several else "single_label_classification"
    more = {**_label_names(task), "problem_type": problem, "classifier_dropout": head.dropout}
    if not several and task.settings.temperature != 1:  # transformers has none: the last map takes it in
        values |= {name: v / task.settings.temperature for name, v in values.items() if name.startswith("output.")}
    more |= {"classifier_pooling": head.pooling} if of.architecture == "modernbert" else {}
    return "classify", list(of.uses["classify"]), {_named(n, sentence): v for n, v in values.items()}, more


def _each(
    task: Tagger | Answerer, values: dict[str, Tensor]
) -> tuple[Any, list[str], dict[str, Tensor], dict[str, Any]]:
    """Return `_parts` of a task of single tokens."""
    if task.model.crf:
        problem = "a CRF, which transformers does not have"
        raise ModelError(problem, "Train with head.crf = false to write it so.")
    if layout(task.settings.architecture).architecture == "modernbert":
        problem = f"a head of one map, where transformers' ModernBERT has two to {task.task}"
        raise ModelError(problem, "Begin with a checkpoint of another family to write it so.")
    named = {
        name.replace("output.", f"heads.{task.task}.", 1) if name.startswith("output.") else name: value
        for name, value in values.items()
    }
    more = {"classifier_dropout": task.settings.head.dropout, **_label_names(task)} if task.labels else {}
    return task.task, [task.task], named, more


def _label_names(task: Any) -> dict[str, Any]:
    """Return the labels as config.json has them."""
    return {
        "id2label": {str(number): label for number, label in enumerate(task.labels)},
        "label2id": {label: number for number, label in enumerate(task.labels)},
    }


def _marks(task: Any) -> dict[str, str]:
    """Return the names of the control tokens, as tokenizer_config.json has them."""
    frame = getattr(task.documents, "frame", None) or task.documents
    by_id = {token: name for name, token in task.tokenizer.controls.items()}
    known = {
        "cls_token": frame.begin, "sep_token": frame.end, "pad_token": task.tokenizer.pad,
        "mask_token": task.tokenizer.mask,
    }  # fmt: skip
    found = {name: by_id[token] for name, token in known.items() if token in by_id}
    unknown = next((name for name in ("[UNK]", "<unk>") if name in task.tokenizer.controls), None)
    return found | ({"unk_token": unknown} if unknown else {})
