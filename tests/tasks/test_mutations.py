"""Whatever is changed in a package is found when it is loaded, and told with the file and a remedy."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest

import onehop
from onehop.errors import ModelError, OnehopError
from onehop.files import to_json
from onehop.tasks import Translator, bundled, load_package, save_package
from onehop.tasks.names import GOLDEN, JOINT, MANIFEST, SOURCE, TARGET, WEIGHTS
from onehop.train import train
from tests.fixtures.packages import edit_manifest, seal
from tests.fixtures.tiny import number_pairs, tiny_recipe, write_pairs

FILES = [MANIFEST, WEIGHTS, GOLDEN, JOINT]
AGAIN = "Copy the package again"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    """Return two packages of one recipe and other text, with two tags."""
    folders: list[Path] = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp(f"model{seed}")
        files = [write_pairs(folder / f"{n}.tsv", number_pairs(60, seed=seed)[n::2]) for n in (0, 1)]
        recipe = tiny_recipe(
            files[0],
            data={"pairs": files, "tags": ["one", "two"]},
            text={"vocab_size": 310},
            train={"seed": seed},
            decode={"max_length": 8},
        )
        folders.append(train(recipe, folder / "run").model)
    return folders


@pytest.fixture
def model(models, tmp_path) -> Path:
    return Path(shutil.copytree(models[0], tmp_path / "model"))


def rehash(folder: Path) -> None:
    """Make all hashes fit again, as somebody would who edits a package on purpose."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest.pop("sha256")
    manifest["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
    digest = hashlib.sha256(to_json(manifest).encode()).hexdigest()
    (folder / MANIFEST).write_text(to_json({**manifest, "sha256": digest}), "utf-8")


def refused(folder: Path, told: str, remedy: str = AGAIN) -> None:
    with pytest.raises(ModelError) as found:
        load_package(folder)
    assert told in str(found.value)
    assert remedy in found.value.remedy


def positions(size: int, count: int) -> list[int]:
    """Return the first and last bytes of a file, and others drawn evenly."""
    inner = random.Random(size).sample(range(size), min(count, size))
    return sorted({0, 1, 7, 8, size // 2, size - 2, size - 1, *inner})


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("count", [50, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_any_byte_is_found(model, name, count):
    good = (model / name).read_bytes()
    places = positions(len(good), count)
    assert len(places) >= 50
    for number, place in enumerate(places):
        changed = bytes([good[place] ^ 1 << number % 8])
        (model / name).write_bytes(good[:place] + changed + good[place + 1 :])
        refused(model, name)
    (model / name).write_bytes(good)
    load_package(model)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_or_grows_or_goes_is_found(model, name):
    good = (model / name).read_bytes()
    for data in (b"", good[:1], good[: len(good) // 2], good[:-1], good + b"\n", good + b"\0"):
        (model / name).write_bytes(data)
        refused(model, name)
    (model / name).unlink()
    refused(model, name, "run" if name == MANIFEST else AGAIN)


@pytest.mark.parametrize("name", FILES)
def test_the_file_of_another_model_is_found(model, models, name):
    assert (models[1] / name).read_bytes() != (model / name).read_bytes()
    shutil.copyfile(models[1] / name, model / name)
    told = name if name != MANIFEST else "its hash does not fit"  # the first file that is not the one it names
    refused(model, told)


@pytest.mark.parametrize("name", [WEIGHTS, GOLDEN])
def test_the_file_of_another_model_is_found_with_hashes_that_fit(model, models, name):
    shutil.copyfile(models[1] / name, model / name)
    rehash(model)
    refused(model, GOLDEN)


def test_a_tokenizer_of_another_model_is_found_with_hashes_that_fit(model, models):
    shutil.copyfile(models[1] / JOINT, model / JOINT)
    rehash(model)
    with pytest.raises(ModelError, match=r"tokenizer\.json|weights and settings do not fit"):
        load_package(model)


# ------------------------------------------------------------------------------------------------ edited on purpose


def _swap_pieces(data: dict) -> None:
    vocab = data["model"]["vocab"]
    one, two = list(vocab)[-2:]
    vocab[one], vocab[two] = vocab[two], vocab[one]
    data["model"]["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))


def _swap_tags(data: dict) -> None:
    names = {"<tag:one>": "<tag:two>", "<tag:two>": "<tag:one>"}
    data["model"]["vocab"] = {names.get(piece, piece): token for piece, token in data["model"]["vocab"].items()}


def _swap_merges(data: dict) -> None:
    merges = data["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]


def _drop_merge(data: dict) -> None:
    data["model"]["merges"].pop()


def _no_normal_form(data: dict) -> None:
    data["normalizer"]["normalizers"] = data["normalizer"]["normalizers"][-1:]


def _other_normal_form(data: dict) -> None:
    first = data["normalizer"]["normalizers"][0]
    first["type"] = {"NFC": "NFKC", "NFKC": "NFC"}[first["type"]]


def _rename_piece(data: dict) -> None:
    data["model"]["vocab"] = {("ż" if n == 261 else p): n for p, n in data["model"]["vocab"].items()}


@pytest.mark.parametrize(
    "edit", [_swap_pieces, _swap_tags, _swap_merges, _drop_merge, _no_normal_form, _other_normal_form, _rename_piece]
)
def test_an_edited_tokenizer_is_found_with_hashes_that_fit(model, edit: Callable[[dict], None]):
    data = json.loads((model / JOINT).read_text("utf-8"))
    before = json.dumps(data)
    edit(data)
    assert json.dumps(data) != before
    (model / JOINT).write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    rehash(model)
    refused(model, JOINT, "")


def _edit(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(to_json({**manifest, **changes}), "utf-8")
    rehash(folder)


def test_other_labels_or_another_order_of_them_are_found(model, monkeypatch, tmp_path):
    _edit(model, labels=["no", "yes"])
    refused(model, f"{MANIFEST}: the labels ['no', 'yes'], where the model has None")
    _edit(model, labels=None)
    monkeypatch.setattr(Translator, "labels", ("no", "yes"))  # as a task with classes would state
    refused(model, "the labels None, where the model has ['no', 'yes']")
    _edit(model, labels=["no", "yes"])
    save_package(load_package(model), tmp_path / "named")
    assert json.loads((tmp_path / "named" / MANIFEST).read_text())["labels"] == ["no", "yes"]
    _edit(tmp_path / "named", labels=["yes", "no"])
    refused(tmp_path / "named", "the labels ['yes', 'no'], where the model has ['no', 'yes']")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lengths": {"source": 9, "target": 9}}, "the lengths {'source': 9, 'target': 9}"),
        ({"lengths": None}, "the lengths None"),
        ({"fingerprints": {}}, "no fingerprints of tokenizer.json"),
        ({"files": {"a": "b"}}, "a: missing from the package"),
        ({"versions": []}, "not a manifest of Onehop (versions)"),
        ({"settings": "x"}, "not a manifest of Onehop (settings)"),
        ({"precision": "int4"}, "weights of the precision 'int4'"),
    ],
)
def test_a_manifest_that_contradicts_the_model_is_found(model, changes, told):
    manifest = json.loads((model / MANIFEST).read_text("utf-8"))
    manifest = {**manifest, **changes}
    manifest.pop("sha256")
    digest = hashlib.sha256(to_json(manifest).encode()).hexdigest()
    (model / MANIFEST).write_text(to_json({**manifest, "sha256": digest}), "utf-8")
    refused(model, told, "")


# ------------------------------------------------------------------------------------------------ drift


def _drifted(folder: Path) -> None:
    """Let a golden line tell another log-probability, as a kernel that computes otherwise would."""
    rows = [json.loads(row) for row in (folder / GOLDEN).read_text("utf-8").splitlines()]
    rows[1]["log_probs"][0] -= 0.002
    (folder / GOLDEN).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    rehash(folder)


def test_drift_shows_the_first_difference_and_the_versions_and_may_be_allowed_which_is_recorded(model, tmp_path):
    _drifted(model)
    told = f"{GOLDEN}:2: token 1, "
    refused(model, told, "--allow-drift")
    refused(model, told, "torch ")
    package = load_package(model, allow_drift=True)
    assert told in package.drift
    assert onehop.load(model, allow_drift=True).drift == package.drift
    save_package(package, tmp_path / "again")
    manifest = json.loads((tmp_path / "again" / MANIFEST).read_text("utf-8"))
    assert manifest["drift"] == package.drift
    refused(tmp_path / "again", told)  # it still differs from its golden lines


def test_a_difference_within_the_tolerance_is_none(model):
    rows = [json.loads(row) for row in (model / GOLDEN).read_text("utf-8").splitlines()]
    rows[1]["log_probs"][0] -= 0.0008
    (model / GOLDEN).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    rehash(model)
    assert load_package(model).drift == ""


def test_a_replay_that_held_is_not_done_again_until_the_software_is_another(model, monkeypatch, tmp_path):
    monkeypatch.setenv("ONEHOP_CACHE", str(tmp_path / "cache"))
    calls: list[str] = []
    from onehop.tasks import package as module

    real = module.find_drift
    monkeypatch.setattr(module, "find_drift", lambda *args: calls.append("replayed") or real(*args))
    load_package(model)
    load_package(model)
    assert len(calls) == 1
    monkeypatch.setattr(module, "versions", lambda: {"onehop": "0", "torch": "0", "tokenizers": "0"})
    load_package(model)
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_changes_nothing_but_time(model, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", "/proc/none", "/dev/null/x"):
        monkeypatch.setenv("ONEHOP_CACHE", str(place))
        assert load_package(model).drift == ""


def test_a_package_of_format_1_0_loads_without_the_new_fields_and_is_saved_as_it_was(model, tmp_path):
    manifest = json.loads((model / MANIFEST).read_text("utf-8"))
    old = {k: v for k, v in manifest.items() if k not in ("labels", "lengths", "fingerprints", "drift", "sha256")}
    old["format"] = "1.0"
    digest = hashlib.sha256(to_json(old).encode()).hexdigest()
    (model / MANIFEST).write_text(to_json({**old, "sha256": digest}), "utf-8")
    save_package(load_package(model), tmp_path / "again")
    for path in model.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


# ------------------------------------------------------------------------------------------------ hostile


@pytest.mark.parametrize(
    ("key", "value"),
    [("dim", 10**9), ("dim", 10**30), ("num_encoder_layers", 10**9), ("ffn_dim", 10**12), ("num_heads", 10**9)],
)
def test_settings_that_ask_for_a_billion_of_anything_take_no_memory_and_end_at_once(model, key, value):
    manifest = json.loads((model / MANIFEST).read_text("utf-8"))
    manifest["settings"]["model"][key] = value
    (model / MANIFEST).write_text(to_json(manifest), "utf-8")
    rehash(model)
    refused(model, f"{WEIGHTS}: weights and settings do not fit")


def _header(change: Callable[[dict], None]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (2**63).to_bytes(8, "little") + data[8:],
        lambda data: data[:5],
        lambda data: (4).to_bytes(8, "little") + b"nope",
        lambda data: (6000).to_bytes(8, "little") + b"[" * 6000,
        _header(lambda h: next(iter(h.values())).update(shape=[10**18, 10**18])),
        _header(lambda h: next(iter(h.values())).update(shape=[-1])),
        _header(lambda h: next(iter(h.values())).update(shape=[True])),
        _header(lambda h: next(iter(h.values())).update(dtype="F8_E4M3")),
        _header(lambda h: next(iter(h.values())).update(data_offsets=[0, 10**15])),
        _header(lambda h: next(iter(h.values())).update(data_offsets=[8, 0])),
        _header(lambda h: [entry.update(data_offsets=[0, 4], shape=[1]) for entry in h.values()]),
        _header(lambda h: h.popitem()),
        _header(lambda h: h.update(x=3)),
        lambda data: data + b"more",
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused_before_anything_is_read_by_it(model, change):
    (model / WEIGHTS).write_bytes(change((model / WEIGHTS).read_bytes()))
    rehash(model)
    refused(model, f"{WEIGHTS}: not a safetensors file, or damaged", "Copy the package again")


@pytest.mark.parametrize("name", [WEIGHTS, GOLDEN, JOINT, MANIFEST])
def test_a_link_out_of_the_package_is_refused_and_one_inside_is_not(model, tmp_path, name):
    (model / name).rename(model / "inside")
    (model / name).symlink_to("inside")
    load_package(model)
    (model / "inside").rename(tmp_path / "outside")
    (model / name).unlink()
    (model / name).symlink_to(tmp_path / "outside")
    refused(model, f"{name}: a link that leads out", "Put the file itself there")


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/b", "..", "", "a\\b", "a\0b"])
def test_a_manifest_that_names_a_place_is_refused(model, place):
    manifest = json.loads((model / MANIFEST).read_text("utf-8"))
    manifest["files"][place] = "0" * 64
    manifest.pop("sha256")
    digest = hashlib.sha256(to_json(manifest).encode()).hexdigest()
    (model / MANIFEST).write_text(to_json({**manifest, "sha256": digest}), "utf-8")
    with pytest.raises(ModelError, match=r"names a file outside its folder|missing from the package"):
        load_package(model)


def test_a_regular_expression_in_a_tokenizer_is_never_run(model):
    data = json.loads((model / JOINT).read_text("utf-8"))
    data["pre_tokenizer"]["pattern"]["Regex"] = "(a+)+$"
    (model / JOINT).write_text(json.dumps(data) + "\n", "utf-8")
    rehash(model)
    refused(model, f"{JOINT}: a tokenizer with settings that Onehop does not use", "")


def test_each_side_of_two_vocabularies_has_its_fingerprint(tmp_path):
    pairs = write_pairs(tmp_path / "pairs.tsv", number_pairs(60))
    model = train(tiny_recipe(pairs, text={"joint": False}), tmp_path / "run").model
    one, two = (model / SOURCE).read_bytes(), (model / TARGET).read_bytes()
    (model / SOURCE).write_bytes(two)
    (model / TARGET).write_bytes(one)
    rehash(model)
    with pytest.raises(ModelError, match=r"source\.tokenizer\.json encodes otherwise|do not fit"):
        load_package(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(format="1"),
        lambda manifest: manifest.update(format="1.x"),
        lambda manifest: manifest.update(format="1.0"),
        lambda manifest: manifest.update(record=None),
    ],
    ids=["format 1", "format 1.x", "format 1.0 with what that had not", "a record that is null"],
)
def test_a_manifest_that_no_onehop_writes_is_refused_with_hashes_that_fit(model, change):
    edit_manifest(model, change)
    refused(model, "not a manifest of Onehop")


# ------------------------------------------------------------------------------------------------ every setting

# Those that change nothing that this model does: what only training uses, what stands beside a part that it does not
# have (windows where all is attended to, rotary positions), another word for the same, and notes for people.
INERT = {
    "attribution", "license", "decode.batch_tokens", "model.activation_dropout", "model.attention_dropout",
    "model.dropout", "model.word_dropout", "model.final_norm", "model.cross_window", "model.hard_expected",
    "model.gumbel_temperature",
    "model.max_positions", "model.rotary_base", "model.rotary_factor", "model.num_kv_heads", "model.encoder_kv_heads",
    "model.decoder_kv_heads", "model.cross_kv_heads",
}  # fmt: skip


def _values(tree: dict, before: str = "") -> list[str]:
    """Return the names of all values of settings, with dots between."""
    names: list[str] = []
    for key, value in tree.items():
        names += _values(value, f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"]
    return names


def _others(value: object) -> list[object]:
    """Return values like that one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, max(value - 1, 0)]
    if isinstance(value, float):
        return [value + 0.01, value - 0.01]
    if isinstance(value, str):
        others = {"pre": "post", "wu": "average", "count": "bound", "scaled_dot": "dot", "transformer": "recurrent"}
        return [value + "x", *([others[value]] if value in others else [])]
    return [2, True, "post", "three_way"]  # where nothing was said


def changed_values(folder: Path, weighty: bool = True) -> set[str]:
    """Change each value of the settings alone, with hashes that fit, and return those that load as if nothing was.

    Args:
        folder: The package.
        weighty: Those of the model's family, too.
    """
    good, silent = (folder / MANIFEST).read_bytes(), set[str]()
    for name in _values(json.loads(good)["settings"]):
        if name.startswith("model.") and not weighty:
            continue
        *path, key = name.split(".")
        for value in _others(reduce(lambda tree, part: tree[part], [*path, key], json.loads(good)["settings"])):
            manifest = json.loads(good)
            table = reduce(lambda tree, part: tree[part], path, manifest["settings"])
            if table[key] == value:
                continue
            table[key] = value
            seal(folder, manifest)
            try:
                load_package(folder)
                silent.add(name)
            except OnehopError:
                continue
    (folder / MANIFEST).write_bytes(good)
    return silent


def test_every_value_of_the_settings_that_decides_is_found_with_hashes_that_fit(model):
    names = set(_values(json.loads((model / MANIFEST).read_text("utf-8"))["settings"]))
    assert names >= INERT | {"decode.beam_size", "decode.alpha", "source_language", "text.sentences", "model.norm"}
    assert changed_values(model) <= INERT


def test_every_value_of_the_bundled_model_that_decides_is_found_with_hashes_that_fit(tmp_path):
    """Its golden lines did not hold what decides: another beam, other languages or no sentences loaded in silence."""
    folder = Path(shutil.copytree(bundled()["en-de"], tmp_path / "model"))
    assert changed_values(folder, weighty=False) <= INERT
