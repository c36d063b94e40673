"""What users write in a module of their own: a Score, losses, a term, an optimiser, towers."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from gramalign import losses
from gramalign.models import Standardize, Tower
from gramalign.scores import CosineScore, Side, score_named
from gramalign.training import Contrastive, Term


@dataclass(frozen=True)
class Steep:
    """The cosine with the sum of the others, to scale."""

    anchor: str
    factor: float = 1.0

    def rows(self, embeddings, present=None):
        return self._aggregate.rows(embeddings, present)

    def cols(self, embeddings, present=None):
        factors, valid = self._aggregate.cols(embeddings, present)
        return Side(factors, valid)

    def tile(self, rows, cols):
        return self.factor * self._aggregate.tile(rows, cols)

    def matched(self, embeddings, present=None):
        return self.factor * self._aggregate.matched(embeddings, present)

    @property
    def _aggregate(self):
        return score_named("aggregate", self.anchor)


def hinge(
    embeddings,
    *,
    margin: float = 0.2,
    power=2.0,
    anchor: str | None = None,
    kind: Literal["up", "down"] = "up",
    score_of=CosineScore,
    present=None,
    **others,
):
    """How far modalities are apart, beyond a margin.

    Args:
        embeddings: unit rows.
        margin: that costs nothing.
        present: which are there.
    """
    assert score_of is CosineScore and not set(others) - {"groups", "axis_name", "engine"}
    sign = 1 if kind == "up" else -1
    values = sign * (losses.alignment(embeddings, power=power, present=present) - margin)
    return jnp.maximum(values, 0)


HALF_LIFE = np.log(2.0)  # a number of NumPy's


def quoted(
    embeddings: "Unknown",  # noqa: F821 as if imported for type checkers alone
    *,
    margin: "float | None" = None,
    kind: "Literal['up', 'down']" = "up",
    scale=HALF_LIFE,
    present=None,
):
    """Quoted types."""
    return losses.alignment(embeddings, present=present) * scale


bound = partial(jax.jit(quoted, static_argnames="kind"), scale=2.0)


def whole(embeddings, *, present=None):
    """Contrast over the batch, by a loss that knows of no devices."""
    return losses.clip(embeddings, anchor=None, present=present)


def over_axis(embeddings, *, present=None, axis_name=None):
    """The same, by one that does."""
    return losses.clip(embeddings, anchor=None, present=present, axis_name=axis_name)


def blind(embeddings):
    """Takes all modalities for present."""
    return losses.alignment(embeddings)


def mean(embeddings, *, present=None):
    """The mean, where a value per example is expected."""
    return losses.alignment(embeddings, present=present).mean()


def pair(embeddings, *, present=None):
    """Values, and something beside them."""
    return losses.alignment(embeddings, present=present), {}


def count(embeddings, *, present=None):
    """A step, which has no gradient."""
    return losses.alignment(embeddings, present=present) > 1


def by_place(embeddings, margin=0.2, /, *, present=None):
    """Has a setting that cannot be named."""


def by_name(*, embeddings):
    """Takes embeddings by name alone."""


def misplaced(present, embeddings=None):
    """Takes something else first."""


def covering(embeddings, *, loss=1.0):
    """Has a setting with the name of a term's function."""


def without_default(embeddings, *, margin):
    """Has no value for its setting."""


def named_badly(embeddings, *, score="cosine"):
    """Has a setting with the name of what a term has."""


def learning(embeddings, *, learn_margin=True):
    """Has a setting with the name of a switch."""


@dataclass(frozen=True)
class Sharp(Contrastive):
    """Contrast with a learned temperature, searched by its own Score."""

    loss = staticmethod(losses.clip)
    score = "tests.own_methods:Steep(factor=3.0)"

    temperature: float = 0.5
    learn_temperature: bool = True


class Loose(Contrastive):
    """Is no dataclass of its own, but inherits being one."""

    loss = staticmethod(losses.clip)


@dataclass(frozen=True)
class Lossless(Contrastive):
    """Has no loss."""


@dataclass(frozen=True)
class Bound(Contrastive):
    """Would be passed to its loss."""

    loss = losses.clip  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True)
class Needy(Term):
    """Cannot be made without a setting."""

    loss = staticmethod(losses.alignment)

    power: float


@dataclass(frozen=True)
class Astray(Term):
    """Names no Score."""

    loss = staticmethod(losses.alignment)
    score = "tests.own_methods:Stepp"


@dataclass(frozen=True)
class Direct(Term):
    """Has a Score, not its name."""

    loss = staticmethod(losses.alignment)
    score = Steep  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True)
class Method(Term):
    """Has its loss as a method."""

    def loss(self, embeddings, *, present=None):
        """Its own."""
        return losses.alignment(embeddings, present=present)


@dataclass
class Unlike:
    """Is no term."""


def no_optimizer(learning_rate, mask=None):
    """Makes a number, whatever is masked."""
    return float(learning_rate(0))


def halved(learning_rate):
    """Takes the rate for a number."""
    return optax.sgd(learning_rate / 2)


def unnamed(learning_rate, /):
    """Takes no argument by its name."""


def noisy(learning_rate, *, modality):
    """Keeps a key; leaves one modality's tower as it is."""

    def init(params):
        return jax.random.key(0)

    def update(updates, state, params=None):
        key, next_state = jax.random.split(state)
        noise = 1 + jax.random.normal(key) / 10
        return jax.tree.map(lambda x: noise * x, updates), next_state

    def labels(params):
        towers = {name: name == modality for name in params["encoder"]["towers"]}
        return {**dict.fromkeys(params, False), "encoder": {"towers": towers}}

    moving = optax.chain(optax.GradientTransformation(init, update), optax.adam(learning_rate))
    return optax.multi_transform({False: moving, True: optax.set_to_zero()}, labels)


def short_of_state(learning_rate):
    """Its state has another dtype after the first update."""

    def update(updates, state, params=None):
        return updates, state + learning_rate(0)

    return optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)


def short_of_updates(learning_rate):
    """Has updates for the first array alone."""

    def update(updates, state, params=None):
        return jax.tree.leaves(updates)[0], state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def watching(learning_rate, *, patience, **others):
    """Needs a setting, and the loss."""
    plateau = optax.contrib.reduce_on_plateau(patience=patience, **others)
    return optax.chain(optax.sgd(learning_rate), plateau)


class Tokens(nnx.Module):
    """A tower of attention over features that are vectors, one after another."""

    def __init__(self, features, dim, *, modality, width=2, heads=2, mean, std, rngs):
        self.width, self.modality = width, modality
        self.standardize = Standardize(features, mean, std)
        self.inwards = nnx.Linear(width, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, 8, decode=False, rngs=rngs)
        self.head = nnx.Linear(8, dim, rngs=rngs)

    def __call__(self, x):
        tokens = self.inwards(self.standardize(x).reshape(len(x), -1, self.width))
        return self.head(self.attention(tokens).mean(axis=1))


class Flat(nnx.Module):
    """As small as a tower can be."""

    def __init__(self, features, dim, rngs):
        self.linear = nnx.Linear(features, dim, dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)


class Begun(Flat):
    """Brings a weight to begin with."""

    def initial_weights(self):
        return {"linear.bias": np.arange(self.linear.bias.shape[0], dtype=np.float32)}


class Repeated(Flat):
    """Of as many layers as it is told, which share their weights."""

    def __init__(self, features, dim, *, depth, steep=1.0, rngs):
        super().__init__(features, dim, rngs)
        self.layer = nnx.Linear(dim, dim, rngs=rngs)
        self.depth, self.steep = depth, steep

    def __call__(self, x):
        y = super().__call__(x).astype(jnp.float32)
        for _ in range(self.depth):
            y = jnp.tanh(self.steep * self.layer(y))
        return y


class Narrow(Flat):
    """Returns too few columns."""

    def __call__(self, x):
        return self.linear(x)[:, 1:]


class Noisy(Flat):
    """Has variables that a run does not keep."""

    def __init__(self, features, dim, rngs):
        super().__init__(features, dim, rngs)
        self.norm = nnx.BatchNorm(dim, rngs=rngs)


class Sized(Flat):
    """Needs a setting."""

    def __init__(self, features, dim, *, size, rngs):
        super().__init__(features, dim, rngs)


class Passing(Tower):
    """Leaves all that it is given to what it inherits from."""

    def __init__(self, features, dim, *, rngs, **others):
        super().__init__(features, dim, rngs=rngs, **others)


class Forwarding(Tower):
    """Calls what it inherits from with all that it is given."""

    def __call__(self, x, **others):
        return super().__call__(x, **others)


class Placed(nnx.Module):
    """Adds positions to what it computes in another dtype."""

    def __init__(self, features, dim, *, dtype, rngs):
        self.linear = nnx.Linear(features, dim, dtype=dtype, rngs=rngs)
        self.positions = nnx.Param(jax.random.normal(rngs.positions(), (1, dim)))
        self.kernel = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return self.kernel[...] * (self.linear(x).astype(jnp.float32) + self.positions[...])


class Untested(Flat):
    """Has a mistake that shows in evaluation alone."""

    def __call__(self, x, *, dropout_keys=None):
        self.check(dropout_keys)
        return super().__call__(x)

    def check(self, keys):
        if keys is None:
            raise ValueError("no keys")


@dataclass
class Likewise:
    """Takes what a tower takes, and is none."""

    features: int
    dim: int
    rngs: nnx.Rngs


@dataclass
class Changing:
    """Is a loss that may change, and so has no hash."""

    margin: float = 0.2

    def __call__(self, embeddings):
        """The loss."""


changing = Changing()


@dataclass(frozen=True)
class Demanding(Steep):
    """Is made from more than its anchor."""

    other: str = field(kw_only=True)


@dataclass
class Unhashable:
    """Cannot be part of a program."""

    anchor: str

    rows, cols, tile, matched = Steep.rows, Steep.cols, Steep.tile, Steep.matched


class Plain:
    """Is no dataclass."""

    factor = 1.0

    def __init__(self, anchor):
        self.anchor = anchor

    rows, cols, tile, matched = Steep.rows, Steep.cols, Steep.tile, Steep.matched
    _aggregate = Steep._aggregate
