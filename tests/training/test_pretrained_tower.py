"""Towers that are pretrained encoders, and are trained on."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.cli.made_by import made_by
from gramalign.data import gather, load
from gramalign.models import Towers, pretrained
from gramalign.programs.flops import matmul_flops
from gramalign.training import Layout, Model, Optimizer, embed_store, load_run, train
from gramalign.training.model import abstract_model, standardised
from gramalign.training.moments import moments
from tests.models.pretrained.tiny import fill, golden, write_model
from tests.training.commands import Killed, arrays, assert_same_run, train_until, untrained

ROWS = 40
CASES = {"caption": "bert text", "photo": "clip image", "sound": "ast audio"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Encoders, and a store of what they take, of modalities that tell the same class."""
    root, rng, cases = tmp_path_factory.mktemp("pretrained"), np.random.default_rng(0), golden()
    for modality, case in CASES.items():
        write_model(root / modality, cases[case])
    shown = np.arange(ROWS) % 8
    ids = rng.integers(3, 50, (8, 9))[shown]
    ids[np.arange(ROWS) % 3 == 0, 6:] = -1
    pixels, spectra, features = (rng.normal(size=(8, n))[shown] for n in (2 * 432, 140, 5))
    arrays = {
        "caption": ids.astype(np.int32),
        "photo": pixels.astype(np.float16),  # two frames
        "sound": spectra.astype(np.float16),
        "depth": features.astype(np.float32),
    }
    split = np.where(np.arange(ROWS) < 32, "train", "test")
    np.savez(root / "store.npz", split=split, groups=shown, **arrays)
    return root


@pytest.fixture(scope="module")
def config(folder, small_config):
    encoders = {modality: str(folder / modality) for modality in CASES} | {"depth": None}
    model = Model(
        tower=f"gramalign.models.pretrained:Tower(encoders={encoders!r})", dim=8, hidden=8
    )
    data = str(folder / "store.npz")
    names = ("caption", "photo")
    sizes = {"steps": 4, "batch_size": 8, "checkpoint_every": 2, "log_every": 1}
    return small_config(data=data, modalities=names, model=model, **sizes)


def kill(*arguments):
    raise Killed


@pytest.mark.slow
def test_a_run_begins_with_what_they_have_learned(config, folder, tmp_path, quiet):
    every = dataclasses.replace(config, modalities=())
    run = train(untrained(every), tmp_path / "run", report=quiet)
    weights, store = arrays(run.folder), load(folder / "store.npz")
    found = embed_store(run, store)
    rows = {name: np.asarray(store.features[name][:], np.float32) for name in CASES}
    ids = rows["caption"].astype(np.int32)
    inputs = {
        "caption": {"input_ids": np.maximum(ids, 0), "attention_mask": (ids >= 0).astype(np.int32)},
        "photo": {"pixel_values": rows["photo"].reshape(-1, 3, 12, 12)},
        "sound": {"input_values": rows["sound"].reshape(-1, 14, 10)},
    }
    for modality, case in CASES.items():
        encoder = pretrained.load(folder / modality, case.split()[-1])
        pooled = np.asarray(encoder(inputs[modality])).reshape(ROWS, -1, encoder.dim).mean(axis=1)
        head = f"encoder.towers.{modality}.head"
        wanted = pooled @ weights[f"{head}.kernel"] + weights[f"{head}.bias"]
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        np.testing.assert_allclose(found[modality], wanted, atol=2e-6)


def test_encoders_that_share_a_space_begin_in_it(folder):
    rows = np.random.default_rng(0).normal(size=(3, 432)).astype(np.float32)
    encoders = {"photo": str(folder / "photo")}
    sizes = {"hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
    tower = pretrained.Tower(432, 10, modality="photo", encoders=encoders, **sizes)
    fill(tower.encoder)
    wanted = tower.encoder({"pixel_values": rows.reshape(-1, 3, 12, 12)})
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(tower(jnp.asarray(rows)), wanted, rtol=1e-6)
    with pytest.raises(
        ValueError,
        match=r"photo has 433 numbers a row, and .*encodes text and image of",
    ):
        pretrained.Tower(433, 10, modality="photo", encoders=encoders, **sizes)


@pytest.mark.parametrize(
    ("settings", "sides"),
    [
        ({"crop_size": 8, "size": 9}, (8, 8)),
        ({"crop_size": {"height": 8, "width": 12}}, (8, 12)),
        ({"do_center_crop": False, "crop_size": 8, "size": {"height": 16, "width": 8}}, (16, 8)),
        ({"size": {"shortest_edge": 16}}, (16, 16)),
        ({"size": {"longest_edge": 16}}, (12, 12)),  # says nothing of both
    ],
)
def test_images_are_as_their_processor_makes_them(folder, tmp_path, settings, sides):
    shutil.copytree(folder / "photo", tmp_path / "photo")
    (tmp_path / "photo" / "preprocessor_config.json").write_text(json.dumps(settings))
    options = {"hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
    encoders = {"photo": str(tmp_path / "photo")}
    width = 3 * sides[0] * sides[1]
    tower = pretrained.Tower(width, 5, modality="photo", encoders=encoders, **options)
    assert tower.shape == (3, *sides)


def test_processors_of_all_kinds_may_share_a_file(folder, tmp_path):
    """As newer versions save them; it goes before one of images alone."""
    photo = shutil.copytree(folder / "photo", tmp_path / "photo")
    (photo / "preprocessor_config.json").write_text(json.dumps({"crop_size": 12}))
    of_images = {"image_processor": {"crop_size": {"height": 24, "width": 24}}}
    (photo / "processor_config.json").write_text(json.dumps(of_images))
    options = {"hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
    encoders = {"photo": str(photo)}
    tower = pretrained.Tower(3 * 24 * 24, 5, modality="photo", encoders=encoders, **options)
    assert tower.shape == (3, 24, 24)
    before = tower.made_of()
    (photo / "processor_config.json").write_text("{}")
    tower = pretrained.Tower(3 * 24 * 24, 5, modality="photo", encoders=encoders, **options)
    assert tower.shape == (3, 12, 12) and tower.made_of() != before


def test_images_without_a_size_are_refused(folder, tmp_path):
    shutil.copytree(folder / "photo", tmp_path / "photo")
    path = tmp_path / "photo" / "preprocessor_config.json"
    path.write_text(json.dumps({"crop_size": 0}))
    options = {"hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
    encoders = {"photo": str(tmp_path / "photo")}
    with pytest.raises(ValueError, match=f"{path}: crop_size is 0, expected a height and a width"):
        pretrained.Tower(3 * 12 * 12, 5, modality="photo", encoders=encoders, **options)


@pytest.mark.slow
def test_they_are_trained_from_there(config, tmp_path, quiet, monkeypatch):
    read = []
    monkeypatch.setattr(pretrained.Tower, "made_of", lambda tower: read.append(tower) or "")
    first = train(untrained(config), tmp_path / "first", report=quiet)
    read.clear()
    run = train(config, tmp_path / "run", report=quiet)
    assert len(read) == 2 * len(config.modalities), "not at every checkpoint: folders may be gone"
    before, after = arrays(first.folder), arrays(run.folder)
    moved = {name: np.abs(after[name] - before[name]).max() for name in before}
    for modality in config.modalities:
        prefix = f"encoder.towers.{modality}.encoder"
        assert moved[f"{prefix}.body.layers.0.attention.query.kernel"] > 0
        assert max(far for name, far in moved.items() if name.startswith(prefix)) < 0.1
    log = (run.folder / "metrics.jsonl").read_text()
    assert '"grad_norm/photo"' in log


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop", [pytest.param(1, id="before a checkpoint"), pytest.param(3, id="after one")]
)
def test_a_killed_run_goes_on_to_the_same_bits(config, whole, stop, tmp_path, quiet):
    train_until(stop, config, tmp_path)
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(tmp_path, whole)


@pytest.mark.slow
def test_devices_microbatches_and_memory_change_nothing(config, whole, tmp_path, quiet):
    wanted = arrays(whole)
    remat = dataclasses.replace(config.model, remat=True)
    for place, changes in {
        "devices": {"layout": Layout(data=2, fsdp=2, model=2)},
        "microbatches that are computed again": {"microbatch": 2, "model": remat},
    }.items():
        run = train(dataclasses.replace(config, **changes), tmp_path / place, report=quiet)
        for name, array in arrays(run.folder).items():
            if not name.endswith("key.bias"):  # softmax does not see it: only rounding moves it
                told = f"{place} {name}"
                np.testing.assert_allclose(array, wanted[name], atol=1e-3, err_msg=told)


def test_remat_is_of_each_layer(config, folder):
    dims = load(folder / "store.npz").dims
    for remat in (False, True):
        shape = dataclasses.replace(config.model, remat=remat)
        model = abstract_model(dataclasses.replace(config, model=shape), dims)
        for modality in CASES:
            tower = model.encoder.towers[modality]
            assert isinstance(tower, pretrained.Tower) and tower.encoder.body.remat == remat


@pytest.mark.slow
def test_rates_and_another_run_to_start_from(config, whole, tmp_path, quiet):
    rates = ((r"\.encoder\.", 1e-9),)
    optimizer = Optimizer(warmup=1, learning_rate=1e-2, rates=rates)
    start = dataclasses.replace(config, optimizer=optimizer, start_from=str(whole))
    run = train(start, tmp_path / "run", report=quiet)
    before, after = arrays(whole), arrays(run.folder)
    for name, array in after.items():
        near = np.abs(array - before[name]).max() < 1e-6
        assert near == (".encoder." in name or ".standardize." in name), name
    assert load_run(run.folder).config == start


def test_low_rank_changes_are_added_to_kernels(folder):
    rows = np.random.default_rng(0).normal(size=(3, 432)).astype(np.float32)
    sizes = {"modality": "photo", "hidden": 4, "depth": 1, "rngs": nnx.Rngs(0)}
    tower = pretrained.Tower(432, 8, encoders={"photo": str(folder / "photo")}, rank=2, **sizes)
    fill(tower.encoder)
    before = tower(jnp.asarray(rows))
    pieces = {"pixel_values": rows.reshape(-1, 3, 12, 12)}
    np.testing.assert_array_equal(before, tower.head(tower.encoder(pieces)))
    rng, number = np.random.default_rng(1), 0
    for layer, changes in zip(tower.encoder.body.layers, tower.change.layers, strict=True):
        for name, change in changes.items():
            assert change.a[...].shape[1] == 2 and not change.b[...].any() and change.a[...].any()
            change.b[...] = 0.3 * rng.normal(size=change.b[...].shape).astype(np.float32)
            kernel = getattr(layer.attention, name).kernel
            kernel[...] += change.a[...] @ change.b[...]
            number += 1
    assert number == 4 * len(tower.encoder.body.layers)
    wanted = tower.head(tower.encoder(pieces))
    for layer, changes in zip(tower.encoder.body.layers, tower.change.layers, strict=True):
        for name, change in changes.items():
            getattr(layer.attention, name).kernel[...] -= change.a[...] @ change.b[...]
    found = tower(jnp.asarray(rows))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert np.abs(found - before).max() > 0.01
    np.testing.assert_allclose(before, tower.head(tower.encoder(pieces)), rtol=1e-4, atol=1e-5)
    for rank in (-1, 99):
        with pytest.raises(ValueError, match=rf"rank is {rank}, expected 1 to \d+, or 0 for none"):
            pretrained.Tower(432, 8, encoders={"photo": str(folder / "photo")}, rank=rank, **sizes)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_low_rank_changes_take_no_products_for_the_gradients_of_kernels(folder, dtype):
    """What they take is that of their rank, and once the forward products, and once backward."""

    def products(rank):
        encoders, sizes = {"photo": str(folder / "photo")}, {"hidden": 4, "depth": 1}
        given = {"encoders": encoders, "rank": rank, "dtype": dtype, "modality": "photo", **sizes}
        graph, changes, others = nnx.split(
            nnx.eval_shape(lambda: pretrained.Tower(432, 8, rngs=nnx.Rngs(0), **given)),
            nnx.PathContains("change"),
            ...,
        )

        def total(changes, others, rows):
            return jnp.sum(nnx.merge(graph, changes, others)(rows))

        shapes = changes, others, jax.ShapeDtypeStruct((3, 432), jnp.float32)
        return matmul_flops(jax.grad(total) if rank else total, *shapes)

    assert 0 < products(2) - products(1) < products(0) / 2
    assert 2 * products(1) - products(2) <= 2 * products(0)


@pytest.mark.slow
def test_low_rank_changes_are_trained_in_the_place_of_kernels(config, folder, tmp_path, quiet):
    tower = config.model.tower.removesuffix(")") + ", rank=2)"
    optimizer = Optimizer(warmup=1, learning_rate=1e-2, rates=((r"\.encoder\.", 0.0),))
    model = dataclasses.replace(config.model, tower=tower)
    config = dataclasses.replace(config, model=model, optimizer=optimizer)
    weights = arrays(train(config, tmp_path / "run", report=quiet).folder)
    begun = pretrained.Tower(
        *(9, 8),
        modality="caption",
        encoders={"caption": str(folder / "caption")},
        rank=2,
        hidden=4,
        depth=1,
        rngs=nnx.Rngs(0),
    ).initial_weights()
    for name, array in begun.items():
        np.testing.assert_array_equal(weights[f"encoder.towers.caption.{name}"], array)
    changed = [array for name, array in weights.items() if ".change." in name]
    assert changed and all(array.any() for array in changed)
    train_until(2, config, tmp_path / "killed")
    found = arrays(train(config, tmp_path / "killed", resume=True, report=quiet).folder)
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.slow
def test_another_encoder_joins_a_trained_space(config, folder, tmp_path, quiet):
    """Though the towers are then named otherwise."""
    few = {"caption": str(folder / "caption"), "depth": None}
    tower = f"gramalign.models.pretrained:Tower(encoders={few!r})"
    model = dataclasses.replace(config.model, tower=tower)
    names = ("caption", "depth")
    first = dataclasses.replace(config, model=model, modalities=names)
    first = train(first, tmp_path / "first", report=quiet)
    start = {"start_from": str(first.folder), "freeze": names, "modalities": ()}
    run = train(dataclasses.replace(config, **start), tmp_path / "run", report=quiet)
    before, after = arrays(first.folder), arrays(run.folder)
    for name in before:
        if name.startswith("encoder."):
            np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert any(name.startswith("encoder.towers.photo.encoder") for name in after)
    other = tower.replace("/caption", "/../elsewhere/caption")
    shutil.copytree(folder / "caption", folder.parent / "elsewhere" / "caption")
    model = dataclasses.replace(config.model, tower=other.replace("'depth'", "'photo'"))
    moved = dataclasses.replace(config, model=model, modalities=("caption", "photo"))
    with pytest.raises(ValueError, match=r"freeze: Model.tower is .*elsewhere.*, but "):
        train(
            dataclasses.replace(moved, start_from=str(first.folder), freeze=("caption",)),
            tmp_path / "moved",
            report=quiet,
        )


def test_a_model_is_made_once_for_its_shapes(config, tmp_path, quiet, monkeypatch):
    """As encoders are many layers: then for what is not trained, and for the state."""
    made = []

    class Counted(Towers):
        def __init__(self, *arguments, **others):
            super().__init__(*arguments, **others)
            made.append(self)

    monkeypatch.setattr("gramalign.training.model.Towers", Counted)
    monkeypatch.setattr("gramalign.training.loop._run", kill)  # before a step
    with pytest.raises(Killed):
        train(config, tmp_path / "run", report=quiet)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("encoders", "told"),
    [
        ({"photo": "photo"}, "encoders: got .*, expected 'caption' as well: the folder of"),
        (
            {"caption": "sound"},
            "caption has 9 numbers a row, and .*sound encodes audio of other",
        ),
        ({"caption": "nowhere"}, "nowhere.config.json does not exist"),
    ],
)
def test_encoders_that_do_not_fit_leave_no_folder(config, folder, encoders, told, tmp_path, quiet):
    encoders = {m: str(folder / name) for m, name in encoders.items()}
    if "caption" in encoders:
        encoders["photo"] = None
    tower = f"gramalign.models.pretrained:Tower(encoders={encoders!r})"
    model = dataclasses.replace(config.model, tower=tower)
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        train(dataclasses.replace(config, model=model), tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()


def test_a_run_whose_encoders_have_changed_is_refused(config, folder, tmp_path, quiet, monkeypatch):
    """Another model's settings would make others of its embeddings, without a word."""
    photo = shutil.copytree(folder / "photo", tmp_path / "photo")
    encoders = {"caption": None, "photo": str(photo)}
    tower = f"gramalign.models.pretrained:Tower(encoders={encoders!r})"
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, tower=tower))
    run = train(untrained(config), tmp_path / "run", report=quiet)
    made = made_by(run)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("gramalign.training.loop._run", kill)
        train(config, tmp_path / "killed", report=quiet)
    settings = json.loads((photo / "config.json").read_text())

    def with_settings(**changes):
        (photo / "config.json").write_text(json.dumps(settings | changes))
        return load_run(run.folder)

    assert made_by(with_settings(transformers_version="9", torch_dtype="bfloat16")) == made
    told = (
        f"the weights of towers that have changed since: what that of photo \\({photo}\\) is made"
    )
    vision = settings["vision_config"]
    with pytest.raises(ValueError, match=f"params.safetensors holds {told}"):
        with_settings(vision_config=vision | {"hidden_act": "relu"})
    with pytest.raises(ValueError, match=f"fixed.safetensors holds {told}"):
        train(config, tmp_path / "killed", resume=True, report=quiet)
    other = train(untrained(config), tmp_path / "other", report=quiet)
    assert json.loads(made_by(other).partition("towers ")[2])["photo"] not in made


def test_a_folder_without_weights_leaves_no_folder(config, folder, tmp_path, quiet):
    """Which is found after the model was made."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((folder / "caption" / "config.json").read_bytes())
    tower = config.model.tower.replace(str(folder / "caption"), str(bare))
    model = dataclasses.replace(config.model, tower=tower)
    with pytest.raises(FileNotFoundError, match=r"bare has no \*.safetensors"):
        train(dataclasses.replace(config, model=model), tmp_path / "run", report=quiet)
    assert not (tmp_path / "run").exists()


def test_only_towers_that_standardise_are_measured_for(
    config, folder, tmp_path, quiet, monkeypatch
):
    """As inputs may be larger than everything else, and a pass over them long."""
    every = dataclasses.replace(config, modalities=("caption", "depth"))
    assert standardised(abstract_model(every, load(folder / "store.npz").dims)) == ["depth"]
    store = load(folder / "store.npz").part("train")
    assert moments(store, ["depth"]).keys() == {"depth"} and moments(store, []) == {}
    np.testing.assert_array_equal(moments(store, ["depth"])["depth"], moments(store)["depth"])
    read = []

    def noted(rows, *arguments):
        read.append(rows.modalities)
        return gather(rows, *arguments)

    def stop(*arguments, **others):
        raise Killed

    monkeypatch.setattr("gramalign.training.moments.gather", noted)
    monkeypatch.setattr("gramalign.training.loop.Start", stop)
    for changed, of in ((config, set()), (every, {("depth",)})):
        with pytest.raises(Killed):
            train(changed, tmp_path / "run", report=quiet)
        assert set(read) == of
