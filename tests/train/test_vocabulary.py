"""Each algorithm of vocabularies, from a recipe to a package that translates."""

import random

import pytest

import onehop
from onehop.data import Pair
from onehop.errors import ConfigError
from onehop.text import ALGORITHMS
from onehop.train import train
from onehop.train.prepare import vocabularies
from tests.fixtures.tiny import number_pairs, tiny_recipe, write_pairs


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("joint", [True, False])
def test_a_recipe_with_any_algorithm_gives_a_package_that_translates(tmp_path, algorithm: str, joint: bool):
    pairs = write_pairs(tmp_path / "pairs.tsv", number_pairs(60))
    text = {"algorithm": algorithm, "joint": joint, "vocab_size": 300}
    train(tiny_recipe(pairs, text=text), tmp_path / "run")
    model = onehop.load(tmp_path / "run")
    for tokenizer in (model.source_tokenizer, model.target_tokenizer):
        assert (tokenizer.algorithm, tokenizer.vocab_size) == (algorithm, 300)
        assert tokenizer.decode(tokenizer.encode("Two ж </s>")) == "Two ж </s>"
    assert isinstance(model.translate(["Two Nine."])[0].text, str)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_size_that_the_text_cannot_give_names_one_that_works(algorithm: str):
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefg", k=5)) for _ in range(40)]
    pairs = [Pair(" ".join(draw.choices(words, k=4)), " ".join(draw.choices(words, k=4))) for _ in range(60)]
    recipe = tiny_recipe("pairs.tsv", text={"algorithm": algorithm, "vocab_size": 5000})
    with pytest.raises(ConfigError, match="no more than") as caught:
        vocabularies(recipe, pairs, 5000, print, ["news", "talk"])
    size = int("".join(filter(str.isdigit, caught.value.remedy)))
    again = tiny_recipe("pairs.tsv", text={"algorithm": algorithm, "vocab_size": size})
    for tokenizer in vocabularies(again, pairs, size, print, ["news", "talk"]):
        assert (tokenizer.vocab_size, tokenizer.tags) == (size, ("news", "talk"))
