"""One page that shows, offline, where a translator looked when it wrote what it really output.

Nothing in it is loaded from anywhere: style, script and weights stand in the page, and its security policy forbids all
else, so that no text can do anything. Without scripts it shows one heat map for each sentence, that of the mean of the
heads which give the alignments; with them, any recorded layer and head.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from unicodedata import bidirectional

import torch

from onehop.explain.explanation import Explanation, Part
from onehop.explain.heat_map import heat_map, text
from onehop.explain.words import END, Words

UNSURE = 0.5  # a word is marked whose probability is below it


def page(explanations: Sequence[Explanation], title: str, facts: Mapping[str, str], note: str = "") -> str:
    """Return explanations as one HTML page.

    Args:
        explanations: Of the lines, with the weights that are to be chosen from.
        title: Heading, such as the name of the model.
        facts: What to tell of the model, by name.
        note: Told below the heading, such as that lines were left out.

    Raises:
        ValueError: No attention was recorded.

    Example:
        >>> model = onehop.load("runs/first")
        >>> found = onehop.explain.explain(model, model.translate(["Hello <b>7</b>."]))
        >>> html = page(found, "runs/first", {"task": "translation"})
        >>> "<b>" in html, "&lt;b&gt;7&lt;/b&gt;." in html
        (False, True)
    """
    parts = [part for each in explanations for part in each.parts]
    layer = explanations[0].layer if explanations else ""
    names = list(parts[0].again.weights) if parts else []
    data = {
        "heads": {name: parts[0].again.weights[name].size(0) for name in names},
        "parts": [{name: _packed(part, name) for name in names} for part in parts],
    }
    script, style = (files("onehop.explain").joinpath(f"page.{kind}").read_text("utf-8") for kind in ("js", "css"))
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'"
    difference = max((each.difference for each in explanations), default=0.0)
    told = {**facts, "largest difference of the replay": f"{difference:.1e} nats" if parts else "nothing to replay"}
    number, articles = 0, list[str]()
    for line, each in enumerate(explanations, 1):
        articles.append(_article(each, line, number))
        number += len(each.parts)
    return "".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}: attention</title><style>{style}</style></head><body><header>",
        f"<h1>{text(title)}</h1><p class=quiet>Where the model looked when it wrote what it really output.</p>",
        f"<p><strong>{text(note)}</strong></p>" if note else "",
        _facts(told), "</header><main>", _choice(names, layer), *articles, "</main>", FOOTER if parts else "",
        f'<script type="application/json" id="weights">{_json(data)}</script>',
        f"<script>{script}</script>" if parts else "", "</body></html>\n",
    ])  # fmt: skip


FOOTER = (
    "<footer><p>Point at a word that was written, or move there with Tab and the arrow keys, to see what it reads: the "
    "deeper the colour, the larger the weight. An outline marks the word it is aligned with. The number below a word "
    "is its probability. Weights to the pieces of a word are summed, weights from them averaged; they tell where a "
    "layer looks, not what it finds there.</p></footer>"
)


def _facts(facts: Mapping[str, str]) -> str:
    cells = (f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    return f"<dl>{''.join(cells)}</dl>"


def _choice(names: Sequence[str], chosen: str) -> str:
    options = "".join(
        f'<option{" selected" if name == chosen else ""} value="{text(name)}">{text(name)}</option>' for name in names
    )
    return (
        f'<div class=choice hidden><label for=layer>Layer <select id=layer autocomplete=off>{options}</select></label>'
        "<label for=head>Head <select id=head autocomplete=off><option value=mean>mean of heads</option></select>"
        "</label></div>"
    )  # fmt: skip


def _article(found: Explanation, line: int, number: int) -> str:
    if not found.parts:
        what = "too long, and left out as asked" if found.translation.dropped else "blank"
        return f"<article><h2>Line {line}</h2><p class=quiet>{what}</p></article>"
    parts = (_part(part, number + place, found.layer) for place, part in enumerate(found.parts))
    links = text(str(found.alignment)) or "none"
    aligned = f"<details><summary>Alignment of the line</summary><code>{links}</code></details>"
    return f'<article aria-label="line {line}"><h2>Line {line}</h2>{"".join(parts)}{aligned}</article>'


def _part(part: Part, number: int, layer: str) -> str:
    links = part.links_inside(layer)
    written = _words("written", "Output", part.target, _chances(part), links)
    kinds = sorted({_kind(name) for name in part.again.weights})
    figures = (_figure(part, kind, layer) for kind in kinds)
    return (
        f'<section class=part data-part="{number}">{_words("read", "Source", part.source)}{written}'
        f"<p class=told role=status></p>{''.join(figures)}{_tokens(part)}</section>"
    )


def _kind(name: str) -> str:
    """Return which words stand on the sides of a map: `cross`, `read` (source and source) or `written`."""
    return "read" if name.startswith("encoder") else "cross" if name.endswith("cross") else "written"


def _figure(part: Part, kind: str, layer: str) -> str:
    asks, reads = part.words_of({"read": "encoder", "cross": "decoder.cross", "written": "decoder.self"}[kind])
    weights = torch.zeros(len(asks), len(reads))
    if kind == "cross":
        weights = part.weights(layer).mean(0)
    svg = heat_map(weights, _shown(reads), _shown(asks), f"{layer}, mean of heads")
    hidden = "" if kind == "cross" else " hidden"
    scrolled = f'<div class=scroll tabindex=0 role=group aria-label="heat map">{svg}</div>'
    return f"<figure data-kind={kind}{hidden}>{scrolled}</figure>"


def _chances(part: Part) -> list[float]:
    """Return the probability of each target word, the product of those of its pieces."""
    sums = [0.0] * len(part.target)
    for owner, log_prob in zip(part.target.owners, part.again.log_probs, strict=True):
        sums[owner] += log_prob
    return [math.exp(value) for value in sums]


def _words(
    side: str, name: str, words: Words, chances: Sequence[float] = (), links: Mapping[int, int] | None = None
) -> str:
    found: list[str] = []
    for number, (word, mark) in enumerate(zip(_shown(words), words.marks, strict=True)):
        classes = ["word", *(["mark"] if mark else []), *(["unsure"] if chances and chances[number] < UNSURE else [])]
        link = f' data-links="{links[number]}"' if links and number in links else ""
        below = f"<small>{100 * chances[number]:.0f} %</small>" if chances else ""
        found.append(
            f'<span class="{" ".join(classes)}" tabindex="{-1 if number else 0}" data-row="{number}" '
            f'data-text="{text(word)}"{link}><bdi>{text(word)}</bdi>{below}</span>'
        )
    group = f'class="words {side}" role=group aria-label="{name}" dir={_direction(words)}'
    return f"<div class=side><span>{name}</span><div {group}>{''.join(found)}</div></div>"


def _direction(words: Words) -> str:
    """Return how a text runs, by its first letter that says so; marks say nothing."""
    letters = (c for word, mark in zip(words.texts, words.marks, strict=True) if not mark for c in word)
    strong = next((kind for kind in map(bidirectional, letters) if kind in ("L", "R", "AL")), "L")
    return "ltr" if strong == "L" else "rtl"


def _shown(words: Words) -> list[str]:
    """Return words as people read them: the end mark is no piece of text."""
    pairs = zip(words.texts, words.marks, strict=True)
    return ["end" if mark and word == END else word for word, mark in pairs]


def _tokens(part: Part) -> str:
    """Return a table of what the search and the replay thought of each piece."""
    pieces = [*part.target_pieces, *(["end"] if part.candidate.complete else [])]
    rows = (
        f"<tr><td>{text(piece)}</td><td>{before:.4f}</td><td>{after:.4f}</td></tr>"
        for piece, before, after in zip(pieces, part.candidate.log_probs, part.again.log_probs, strict=True)
    )
    return (
        f"<details><summary>Tokens</summary><table><caption>log-probability of each token in nats; largest difference "
        f"{part.again.difference:.1e}</caption><thead><tr><th>piece</th><th>search</th><th>replay</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


def _packed(part: Part, name: str) -> str:
    """Return weights of words as bytes, 255 for 1, in base64."""
    whole = (part.weights(name).clamp(0, 1) * 255).round().to(torch.uint8)
    return base64.b64encode(whole.numpy().tobytes()).decode()


def _json(value: object) -> str:
    """Return JSON that cannot end the element it stands in."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
