import base64
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import onehop
from onehop.explain import explain, heat_map, page
from onehop.tasks import Translator

HOSTILE = [
    '<script>alert("x")</script>',
    "a\0b",
    "</script><!--",
    "\"' onmouseover=x",
    "]]>",
    "&amp; <b",
    "\u202eabc\ud800",
]
SVG = "{http://www.w3.org/2000/svg}"


def named(svg: str) -> list[str]:
    """Return what the labels of a heat map show."""
    return [(each.text or "") for each in ET.fromstring(svg).iter(f"{SVG}text")]


@given(st.lists(st.text(max_size=25), min_size=1, max_size=6), st.text(max_size=20))
def test_a_heat_map_is_well_formed_whatever_the_words_are(words: list[str], title: str):
    svg = heat_map(torch.full((len(words), len(words)), 0.5), words, words, title)
    assert len(list(ET.fromstring(svg).iter(f"{SVG}rect"))) == len(words) ** 2


def test_a_cell_is_as_deep_as_its_weight_and_tells_its_words():
    svg = heat_map([[0.75, 0.25, 0.0]], ["ein", "<b>", "猫"], ["كم"], "decoder.0.cross, head 1")
    cells = list(ET.fromstring(svg).iter(f"{SVG}rect"))
    assert [cell.get("fill-opacity") for cell in cells] == ["0.75", "0.25"]
    assert [cell[0].text for cell in cells] == ["كم, ein: 75 %", "كم, <b>: 25 %"]
    assert named(svg) == ["decoder.0.cross, head 1", "ein", "<b>", "猫", "كم"]


@pytest.mark.parametrize("count", [1, 5, 60])
def test_every_label_and_cell_of_a_heat_map_lies_inside_it(count: int):
    words = [f"word{n}" for n in range(count)]
    root = ET.fromstring(heat_map(torch.eye(count), words, words))
    _, _, wide, high = map(float, root.get("viewBox", "").split())
    for each in (*root.iter(f"{SVG}rect"), *root.iter(f"{SVG}text")):
        x, y = float(each.get("x", 0)), float(each.get("y", 0))
        assert 0 <= x <= wide
        assert 0 <= y <= high
    cells = [float(each.get("width", 0)) for each in root.iter(f"{SVG}rect")]
    assert min(cells) >= 10
    assert all(float(each.get("font-size", 0)) >= 10 for each in root.iter(f"{SVG}text"))


def test_a_long_word_is_shortened_and_whole_in_its_tooltip():
    root = ET.fromstring(heat_map([[1.0]], ["x" * 40], ["y"]))
    label = next(each for each in root.iter(f"{SVG}text") if len(each))
    assert label[0].text == "x" * 40
    assert (label[0].tail or "").endswith("x…")


def test_words_that_do_not_fit_the_weights_are_refused():
    with pytest.raises(ValueError, match="2 source words"):
        heat_map([[1.0]], ["a", "b"], ["c"])
    with pytest.raises(ValueError, match=r"of the shape \(1, 2, 3\) that are no rows of numbers"):
        heat_map(torch.ones(1, 2, 3), ["a", "b", "c"], ["d", "e"])
    with pytest.raises(ValueError, match="NaN"):
        heat_map([[float("nan")]], ["a"], ["b"])


class Reader(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def translator(trained) -> Translator:
    return onehop.load(trained)


def made(translator: Translator, lines: list[str], layers: tuple[str, ...] = ("*",)) -> str:
    found = translator.translate(lines, long="cut")
    return page(explain(translator, found, layers), "a <model>", {"task": "<i>"}, "a note & more")


def test_hostile_text_is_shown_and_does_nothing(translator: Translator):
    plain, hostile = made(translator, ["One."] * len(HOSTILE)), made(translator, HOSTILE)
    kinds = [{tag for tag, _ in Reader(html).tags} for html in (plain, hostile)]
    assert kinds[0] == kinds[1]
    assert len(Reader(hostile).all("script")) == 2
    assert not any(name.startswith("on") for _, attributes in Reader(hostile).tags for name in attributes)
    assert not re.search("[\0\u202e\ud800-\udfff]", hostile)
    assert "&lt;i&gt;" in hostile
    hostile.encode()


def test_a_page_loads_nothing_and_allows_its_own_script_alone(translator: Translator):
    html = made(translator, ["One Two."])
    reader = Reader(html)
    for _, attributes in reader.tags:
        assert not {"src", "href", "action", "srcset"} & attributes.keys()
    assert not re.search(r"url\(|@import", html)
    policy = reader.all("meta")[1]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy


def test_the_weights_in_a_page_are_those_of_the_replay(translator: Translator):
    [found] = explain(translator, translator.translate(["One Two Three."]), ["*"])
    html = page([found], "model", {})
    data = json.loads(re.search(r'id="weights">(.*?)</script>', html, re.S)[1])  # type: ignore[index]
    assert data["heads"] == {"encoder.0.self": 4, "decoder.0.self": 4, "decoder.0.cross": 4}
    for name in data["heads"]:
        weights = found.parts[0].weights(name)
        stored = torch.tensor(list(base64.b64decode(data["parts"][0][name]))).view(weights.shape) / 255
        torch.testing.assert_close(stored, weights, atol=0.5 / 255 + 1e-6, rtol=0)


def test_each_line_has_its_place_and_each_written_word_its_probability(translator: Translator):
    html = made(translator, ["One Two. Three.", "", "Four."])
    assert len(Reader(html).all("article")) == 3
    assert [each["data-part"] for each in Reader(html).all("section")] == ["0", "1", "2"]
    assert html.count("blank") == 1
    [found] = explain(translator, translator.translate(["Four."]))
    first = float(
        torch.tensor(found.parts[0].again.log_probs)[[o == 0 for o in found.parts[0].target.owners]].sum().exp()
    )
    assert f"<small>{100 * first:.0f} %</small>" in made(translator, ["Four."])


def test_lines_of_nothing_are_a_page_too(translator: Translator):
    assert Reader(made(translator, [""])).all("article")
    assert not Reader(page([], "model", {})).all("article")
