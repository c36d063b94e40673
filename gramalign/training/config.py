"""The config of a training run: frozen dataclasses, checked as they are built."""

import functools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from gramalign.contrast import Engine
from gramalign.data.packed import OnBadRecord
from gramalign.training.checks import POSITIVE, as_declared, at_least, check, check_pattern
from gramalign.training.expression import parse, written
from gramalign.training.optimizer_named import OptimizerNamed, optimizer_named
from gramalign.training.own_terms import check_score, in_order, term_named
from gramalign.training.term import Term
from gramalign.training.terms import TERMS
from gramalign.training.tower_named import tower_named
from gramalign.training.writers import Writer

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Model:
    """The towers: one per modality, all of the same kind."""

    dim: Annotated[int, at_least(1)] = 64
    """Width of the common space."""
    hidden: Annotated[int, at_least(1)] = 512
    """Width of each hidden layer."""
    depth: Annotated[int, at_least(0)] = 1
    """Number of hidden layers; 0: towers are linear maps."""
    dropout: float = 0.4
    """Rate of dropout after each hidden layer."""
    dtype: Dtype = "float32"
    """Dtype the towers compute in; parameters, moments and embeddings are float32."""
    remat: bool = False
    """Keep only the output of each hidden layer, and recompute the rest in the backward pass."""
    tower: str = "gramalign.models:Tower"
    """Your own, package.module:Class, with any settings, such as "mine:Tower(heads=4)"; what it
    gets says `gramalign.models.Towers`."""

    def __post_init__(self):
        as_declared(self)
        check(self, "dropout", 0 <= self.dropout < 1, "a rate in [0, 1)")
        try:
            takes = tower_named(self.tower).takes
        except ValueError as error:
            raise ValueError(f"Model.{error}") from None
        for name in ("hidden", "depth", "dropout", "dtype"):
            used = name in takes or getattr(self, name) == getattr(Model, name)
            check(self, name, used, f"the default: {self.tower} does not take it")


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with warm-up, cosine decay to zero and gradient clipping."""

    learning_rate: Annotated[float, POSITIVE] = 2e-3
    """Peak learning rate, reached at the end of the warm-up."""
    warmup: Annotated[int, at_least(0)] | None = None
    """Steps of linear warm-up from zero; None: 100, or a quarter of all steps if fewer than 400."""
    weight_decay: Annotated[float, at_least(0)] = 1e-2
    """Decay of weight matrices; biases and learned numbers are exempt."""
    clip_norm: Annotated[float, POSITIVE] = 1.0
    """Maximum global norm; larger gradients are scaled down."""
    kind: str = "optax:adamw"
    """One of optax or your own, package.module:function, with any settings, such as
    "optax:adamw(b2=0.98)" or optax.contrib:muon (`gramalign.training.optimizer_named`)."""
    rates: tuple[tuple[str, float], ...] = ()
    """Regular expression of names in params.safetensors -> factor of their learning rate, such as
    "towers.text" 0.1; first match counts, others have 1. What has 0 is not trained and takes no
    memory for it. It multiplies updates, which is the same but where these are not proportional to
    the rate, as in optax.contrib:schedule_free_adamw."""

    def __post_init__(self):
        as_declared(self)
        for rule, factor in self.rates:
            check_pattern(self, "rates", rule)
            if not 0 <= factor < math.inf:
                raise ValueError(
                    f"Optimizer.rates: got {factor} for {rule!r}, expected a number, at least 0"
                )
        decays = self._named().mask is not None
        without = f"0: {self.kind} does not take weight_decay with a mask"
        check(self, "weight_decay", decays or not self.weight_decay, without)

    def _named(self) -> OptimizerNamed:
        try:
            return optimizer_named(self.kind)
        except ValueError as error:
            raise ValueError(f"Optimizer.{error}") from None

    def warmup_of(self, steps: int) -> int:
        """The warm-up, in steps, of a run of this length."""
        return min(100, steps // 4) if self.warmup is None else self.warmup


@dataclass(frozen=True)
class Layout:
    """How devices share a run (`gramalign.training.layout`); results do not depend on it."""

    data: Annotated[int, at_least(1)] | None = None
    """Devices with their own examples; None: all that the other axes leave."""
    fsdp: Annotated[int, at_least(1)] = 1
    """Devices, of those with their own examples, that shard parameters and their moments."""
    model: Annotated[int, at_least(1)] = 1
    """Devices that split each matrix product of the towers, and the examples' pairs."""
    rules: tuple[tuple[str, str], ...] = (
        (r"layers\.\d+\.kernel$", "fsdp,model"),
        (r"layers\.\d+\.bias$", "model"),
        (r"head\.kernel$", "model,fsdp"),
        (r"kernel$", "fsdp,-"),
        (r"embedding$", "-,fsdp"),
    )
    """Regular expression of names -> axis per dimension, "-" for none; first match counts."""

    def __post_init__(self):
        as_declared(self)
        for rule, axes in self.rules:
            check_pattern(self, "rules", rule)
            named = [axis for axis in axes.split(",") if axis != "-"]
            if set(named) - {"data", "fsdp", "model"} or len(set(named)) < len(named):
                raise ValueError(
                    f"Layout.rules: got {axes!r} for {rule!r}, expected axes among data, fsdp and "
                    "model, each at most once, or -, separated by commas"
                )

    @property
    def parsed(self) -> list[tuple[str, tuple[str | None, ...]]]:
        """The rules, with an axis or None for each dimension."""
        return [
            (rule, tuple(None if axis == "-" else axis for axis in axes.split(",")))
            for rule, axes in self.rules
        ]


@dataclass(frozen=True)
class Validation:
    """Evaluation during training, on rows not used to train or test; chooses the model."""

    every: Annotated[int, at_least(1)] | None = None
    """Steps between evaluations; None: never, and the last step is the model."""
    figure: str = "rest -> one R@1, own"
    """Retrieval figure that chooses the model, under the objective's own Score or the cosine, such
    as "pair R@1, cosine" or "text -> audio+video R@5, own"; of ranks ("text -> audio median rank,
    own") the lowest is best."""
    patience: Annotated[int, at_least(1)] | None = None
    """Evaluations in a row without improvement after which the run ends."""
    keep: Annotated[int, at_least(1)] = 1
    """Best checkpoints to keep, besides the latest."""
    held_out: float = 0.1
    """Fraction of training rows, by a hash of their ids, if the store has no validation rows."""
    rows: Annotated[int, at_least(2)] | None = None
    """Use at most this many rows, the first ones; None: all."""

    def __post_init__(self):
        as_declared(self)
        needless = self.every is None and self.patience is not None
        check(self, "patience", not needless, "none without validation.every")
        check(self, "held_out", 0 < self.held_out < 1, "a fraction in (0, 1)")

    @property
    def lowest(self) -> bool:
        """Whether a lower figure is better."""
        return self.figure.rpartition(",")[0].endswith(" rank")


@dataclass(frozen=True)
class Config:
    """A training run, all but its folder."""

    data: str = "digits"
    """Feature store: `digits`, the path of a folder or file, your own package.module:function, with
    any settings, such as "mine:films(width=512)", or a mixture by shares of each batch, such as
    `0.7*stores/a.npz + 0.3*stores/b`."""
    modalities: tuple[str, ...] = ()
    """Modalities to train on; if not given, all."""
    objective: str = "gram"
    """Weighted sum of terms, such as `gram + 0.3*clip`; `gramalign methods` lists them. Your own, a
    loss or a Term, is named `package.module:name`."""
    settings: Mapping[str, Term] = field(default_factory=dict, hash=False)
    """Settings of terms, by name; the objective's other terms take their defaults."""
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    steps: Annotated[int, at_least(0)] = 1000
    """Number of updates; 0: the model as it begins, such as pretrained encoders."""
    batch_size: int = 256
    """Examples per update, each a negative for the others."""
    augment: str | None = None
    """Function that changes each example of each step: FILE.py:NAME or MODULE:NAME
    (`gramalign.training.augment`)."""
    microbatch: Annotated[int, at_least(1)] | None = None
    """Examples the towers embed at a time, to save memory; the result is the same."""
    engine: Engine = field(default_factory=Engine)
    """How all pairs are computed: affects speed and memory, results only by rounding."""
    layout: Layout = field(default_factory=Layout)
    validation: Validation = field(default_factory=Validation)
    on_bad_record: OnBadRecord = "error"
    """An unreadable record of a packed store stops the run with an error that names it ("error"),
    or is left out ("skip")."""
    workers: Annotated[int, at_least(0)] = 0
    """Processes that read batches, if one thread of this process (0) is too slow."""
    seed: int = 0
    """Seed of the initial weights, dropout and the order of examples."""
    checkpoint_every: Annotated[int, at_least(1)] = 500
    """Steps between checkpoints; the last step always writes one."""
    keep_checkpoints: Annotated[int, at_least(1)] = 2
    """How many of the latest checkpoints to keep."""
    max_skips: Annotated[int, at_least(0)] = 10
    """Most steps in a row to skip because the loss or its gradient is not finite."""
    log_every: Annotated[int, at_least(1)] = 50
    """Steps between lines of the log; the last of `steps` always writes one."""
    writers: tuple[Writer, ...] = ()
    """Where else the log goes, besides metrics.jsonl and timing.jsonl; each needs its extra."""
    start_from: str | None = None
    """Folder of a trained run to start from; weights with the same names and shapes are used."""
    freeze: tuple[str, ...] = ()
    """Modalities that embed as in `start_from`, to the bit: the others learn to fit them."""

    def __post_init__(self):
        if not isinstance(self.data, (str, os.PathLike)):
            raise ValueError(
                f"Config.data is of type {type(self.data).__name__}, expected the name or path of "
                "a store, or package.module:function of one; save arrays to a file, np.savez(path, "
                "**arrays)"
            )
        as_declared(self)
        as_declared(self.engine)
        check(self, "batch_size", self.batch_size >= 2, "at least 2, or there are no negatives")
        check(self, "seed", 0 <= self.seed < 2**32, "an integer in [0, 2**32)")
        if self.optimizer.warmup_of(self.steps) >= max(self.steps, 1):
            raise ValueError(
                f"Optimizer.warmup is {self.optimizer.warmup}, expected fewer than Config.steps, "
                f"which is {self.steps}"
            )
        names, frozen = self.modalities, self.freeze
        valid = len(names) != 1 and len(set(names)) == len(names)
        check(self, "modalities", valid, "at least two different names, or none for all")
        check(self, "freeze", len(set(frozen)) == len(frozen), "different names")
        trained = not frozen or self.start_from is not None
        check(self, "freeze", trained, "none without start_from, the run whose towers stay")
        # One spelling for one run, or a resumed run would not match its own config.
        object.__setattr__(self, "objective", written(parse(self.objective, TERMS)))
        object.__setattr__(self, "settings", self._filled_in())
        object.__setattr__(self, "freeze", tuple(sorted(frozen)))
        if names:
            for term in self.terms.values():
                term.check_modalities(names)

    @functools.cached_property
    def weights(self) -> dict[str, float]:
        """The weight of each term of the objective."""
        return parse(self.objective, TERMS)

    @property
    def terms(self) -> dict[str, Term]:
        """The terms of the objective, with their settings."""
        return {name: self.settings[name] for name in self.weights}

    def _filled_in(self) -> dict[str, Term]:
        """The settings given, with defaults for the objective's other terms, in a fixed order."""
        for name, term in self.settings.items():
            if name not in TERMS and ":" not in name:
                known = ", ".join(TERMS)
                raise ValueError(f"Config.settings: unknown term {name!r}; the terms are {known}")
            if type(term) is not term_named(name):
                wanted = term_named(name).__name__
                again = " as it is defined now" if type(term).__name__ == wanted else ""
                raise ValueError(
                    f"Config.settings[{name!r}] is {term!r}, expected {wanted}(...){again}"
                )
        defaults = {name: term_named(name)() for name in self.weights if name not in self.settings}
        settings = {**self.settings, **defaults}
        for name in self.weights:
            check_score(settings[name], name)
        return {name: settings[name] for name in in_order(settings)}
