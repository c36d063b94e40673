"""A finished run, ready to embed data."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from gramalign.counted import counted
from gramalign.models import Towers
from gramalign.settings import is_size
from gramalign.training.config import Config
from gramalign.training.config_json import config_from_dict
from gramalign.training.made_of import check_made_of
from gramalign.training.model import Model, abstract_model
from gramalign.training.params_file import load_params, read_about
from gramalign.training.run_folder import RunFolder


@dataclass(frozen=True)
class Run:
    """A trained model and the config it came from."""

    folder: Path
    config: Config
    dims: dict[str, int]
    """Width of each modality's features."""
    graphdef: nnx.GraphDef = field(repr=False)
    """The model's structure."""
    variables: PyTree = field(repr=False)
    """Nested dict of all that the model consists of: parameters and statistics."""
    fusing: dict[str, tuple[str, ...]]
    """The terms that fuse modalities, and the names of what they make of them."""
    step: int
    """Updates that the model has had."""
    trained_on: str | None
    """The `gramalign.data.digest` of the rows; None: an earlier version did not keep it."""
    embed: Callable[..., dict[str, Float[Array, "batch dim"]]] = field(repr=False)
    """`embed(features, present=None, fused=None)`, compiled: unit rows, zero where absent. Its
    weights are on a device from the first call on. Takes `[batch, width]` arrays of any of the
    run's modalities, and bool `[batch]` masks; `fused`: a term whose heads make further embeddings
    of these. NaN or Inf in a row that is present is an error in NumPy arrays, and a row of NaN from
    JAX arrays, which are not looked at."""
    judge: Callable[..., Float[Array, " batch"]] | None = field(repr=False)
    """`judge(embeddings, present=None)`, compiled: the logits `[batch]` of the head that the term
    `matching` has trained, larger where embeddings are of one example. Modalities that are not
    given are absent. None: there is no such term."""

    def encoder(self) -> Towers:
        """The towers as an `nnx.Module` of yours, to be trained further in a loop of your own.

        Called with `(features, present)`, JAX arrays by modality, it embeds as the run does, and
        can be differentiated. Its weights are a copy: the run itself never changes.
        """
        return nnx.merge(self.graphdef, jax.tree.map(jnp.array, self.variables)).encoder


def load_run(folder: Path | str) -> Run:
    """Opens a finished run; needs only its `params.safetensors`.

    Its data are where its `config.json`, if there is one, has them: they may have moved since.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: its parameters or its config are damaged, or something else's.
    """
    folder = Path(folder)
    path = RunFolder(folder).params
    started = RunFolder(folder).config.exists()
    if not path.exists():
        cure = "no run was started in it"
        if started:
            cure = "resume the run, or make a finished one from a checkpoint with gramalign export"
        raise FileNotFoundError(f"{folder} has no {path.name}: {cure}")
    about = read_about(path)
    lacking = [name for name in ("config", "dims", "step") if name not in about]
    if lacking:
        raise ValueError(
            f"{path} is damaged, or was not written by a run of gramalign: its metadata lack "
            f"{', '.join(lacking)}"
        )
    dims, step = about["dims"], about["step"]
    if not isinstance(dims, dict) or not all(is_size(width) for width in dims.values()):
        raise ValueError(
            f"{path} is damaged: dims is {dims!r}, expected the width of each modality"
        )
    if not is_size(step, 0):
        raise ValueError(f"{path} is damaged: step is {step!r}, expected a whole number")
    try:
        config = config_from_dict(about["config"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if started:
        config = dataclasses.replace(config, data=RunFolder(folder).saved_config().data)
    model = abstract_model(config, dims)
    check_made_of(path, about, model)
    variables = load_params(path, nnx.to_pure_dict(nnx.state(model)))
    return make_run(folder, config, dims, model, variables, step, about.get("trained_on"))


def make_run(
    folder: Path,
    config: Config,
    dims: Mapping[str, int],
    model: Model,
    variables: PyTree,
    step: int,
    trained_on: str | None = None,
) -> Run:
    """A run whose model, of any arrays or shapes, has these variables after a number of updates."""
    fusing = {name: tuple(term.heads) for name, term in model.terms.items() if term.heads}
    graphdef = nnx.graphdef(model)
    dims = dict(dims)

    @functools.cache
    def weights() -> PyTree:  # on a device once something is embedded, rather than at every call
        return jax.device_put(variables)

    def program(features, present, fused):
        return jitted_embed(graphdef, weights(), features, present, fused)

    def judged(embeddings, present=None):
        return _jitted_judge(graphdef, weights(), embeddings, present)

    embed = functools.partial(checked_embed, dims, fusing, program)
    judge = judged if "matching" in config.terms else None
    return Run(folder, config, dims, graphdef, variables, fusing, step, trained_on, embed, judge)


def fused_names(fusing: Mapping[str, tuple[str, ...]], fused: str | None) -> tuple[str, ...]:
    """The names of a term's fused embeddings; none if no term is given.

    Raises:
        ValueError: for a term that fuses nothing.
    """
    if fused is None:
        return ()
    if fused not in fusing:
        raise ValueError(
            f"fused is {fused!r}, expected a term of the objective that fuses modalities: "
            f"{', '.join(fusing) or 'it has none'}"
        )
    return fusing[fused]


def checked_embed(
    dims, fusing, program, features, present=None, fused=None
) -> dict[str, Float[Array, "batch dim"]]:
    """`program`, a function of features, masks and `fused`, of what `Run.embed` takes.

    Raises:
        ValueError: features or masks of other modalities, widths or kinds, of different numbers of
            rows, or not finite where they are present; or as `fused_names`.
    """
    features, masks = dict(features), dict(present or {})
    fused_names(fusing, fused)
    if not features:
        raise ValueError(f"features: got none, expected any of {sorted(dims)}")
    unknown = sorted({*features, *masks} - set(dims))
    if unknown:
        raise ValueError(f"features or present: got {unknown}, expected any of {sorted(dims)}")
    # A modality that was not given is absent, whatever its mask says.
    present = {
        name: mask if isinstance(mask, jax.Array) else np.asarray(mask)
        for name, mask in masks.items()
        if name in features
    }
    sizes = set()
    for name, x in features.items():
        shape = np.shape(x)
        if len(shape) != 2 or shape[1] != dims[name]:
            raise ValueError(f"{name} has shape {list(shape)}, expected [batch, {dims[name]}]")
        sizes.add(shape[0])
    if len(sizes) > 1:
        numbers = {name: np.shape(x)[0] for name, x in features.items()}
        raise ValueError(
            f"features: got different numbers of rows: {numbers}; give absent ones a row too and "
            "mark them in `present`"
        )
    for name, mask in present.items():
        if np.shape(mask) != (*sizes,) or getattr(mask, "dtype", None) != np.dtype(bool):
            kind = getattr(mask, "dtype", type(mask).__name__)
            raise ValueError(
                f"present[{name!r}] is {kind}{[*np.shape(mask)]}, expected bool{[*sizes]}"
            )
    # Not converted to JAX arrays, which would belong to one process alone.
    features = {
        name: x.astype(jnp.float32)
        if isinstance(x, jax.Array)
        else _finite(name, np.asarray(x), present.get(name, np.True_))
        for name, x in features.items()
    }
    return program(features, present, fused)


def _finite(name: str, x: np.ndarray, present: np.ndarray | np.bool | jax.Array) -> np.ndarray:
    """Features in float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # of rows that are absent
        x = x.astype(np.float32, copy=False)
    if isinstance(present, jax.Array):  # as the features would be
        return x
    bad = present & ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise ValueError(
            f"features[{name!r}]: row {np.argmax(bad)} holds NaN or Inf (or a number too large for "
            f"float32; {counted(int(bad.sum()), 'such row')}): fix it, or mark it as absent in "
            "`present`"
        )
    return x


def embedded(graphdef, variables, features, present, fused):
    """Embeddings of a batch, and what the heads of the term `fused`, if not None, make of them."""
    model = nnx.merge(graphdef, variables)
    embeddings = model.encoder(features, present)
    if fused is None:
        return embeddings
    some = next(iter(embeddings.values()))
    absent = {name: jnp.zeros_like(some) for name in model.encoder.towers if name not in embeddings}
    masks = {name: jnp.zeros(some.shape[0], bool) for name in absent} | dict(present or {})
    all_, _ = model.terms[fused].with_heads(embeddings | absent, masks)
    return {name: vectors for name, vectors in all_.items() if name not in absent}


def _judge(graphdef, variables, embeddings, present=None):
    head = nnx.merge(graphdef, variables).terms["matching"].head
    none = jnp.zeros_like(next(iter(embeddings.values())))
    vectors = dict.fromkeys(head.modalities, none) | dict(embeddings)
    absent = dict.fromkeys(set(head.modalities) - set(embeddings), jnp.zeros(len(none), bool))
    return head(vectors, {**(present or {}), **absent})


_jitted_judge = jax.jit(_judge, static_argnums=0)
jitted_embed = jax.jit(embedded, static_argnums=(0, 4))
