"""Every loss, called alike: a new one belongs in this table.

As `loss(embeddings, temperature=..., present=..., groups=..., axis_name=..., engine=...)`, of the
modalities a, b and c; those that know no such setting are not given it.
"""

from functools import partial

import jax.numpy as jnp

from gramalign import losses, normalize
from gramalign.scores import VolumeScore

ANCHOR = "a"


def without(loss, *names):
    """Called without some of the settings."""

    def call(embeddings, **settings):
        return loss(embeddings, **{n: x for n, x in settings.items() if n not in names})

    return call


def pmrl(embeddings, *, temperature, **settings):
    """At one temperature."""
    return losses.pmrl(embeddings, tau_alignment=temperature, tau_instance=temperature, **settings)


def completing(embeddings, present):
    """A head without parameters: what is missing is where the others are."""
    there = [jnp.where(present[m][:, None], embeddings[m], 0) for m in sorted(embeddings)]
    expected = normalize(sum(there[1:], start=there[0]))
    return dict.fromkeys(embeddings, expected), jnp.zeros(len(expected))


def calmrl(embeddings, *, temperature, **settings):
    """At one temperature."""
    taus = {"tau_alignment": temperature, "tau_instance": temperature}
    return losses.calmrl(embeddings, head=completing, **taus, **settings)


def confu(embeddings, **settings):
    """With normalised sums for fusions, some of which may be zero."""
    fused = {
        name: normalize(embeddings[m] + embeddings[n])
        for name, (m, n) in losses.fused_pairs(embeddings).items()
    }
    return losses.confu(dict(embeddings) | fused, **settings)


def fitting(embeddings, present):
    """A head without parameters: how well the modalities of a tuple fit each other."""
    vectors = [jnp.where(present[m][:, None], embeddings[m], 0) for m in sorted(embeddings)]
    total = sum(vectors[1:], start=vectors[0])
    return jnp.sum(total**2 - sum((x**2 for x in vectors[1:]), start=vectors[0] ** 2), axis=1) - 1


ALONE = "temperature", "groups", "axis_name", "engine"

EVERY = {
    "gram": partial(losses.gram, anchor=ANCHOR),
    "gram, squared": partial(losses.gram, anchor=ANCHOR, form="squared"),
    "gram, log": partial(losses.gram, anchor=ANCHOR, form="log"),
    "gram, root": partial(losses.gram, anchor=ANCHOR, form="root"),
    "clip": partial(losses.clip, anchor=ANCHOR),
    "clip, all pairs": partial(losses.clip, anchor=None),
    "pmrl": pmrl,
    "calmrl": calmrl,
    "vast": partial(losses.vast, anchor=ANCHOR, fused="b"),
    "confu": confu,
    "centrobind": losses.centrobind,
    "barybind": partial(losses.barybind, barycentre=ANCHOR),
    "barybind, centroid": losses.barybind,
    "hypergram": partial(losses.hypergram, anchor=ANCHOR),
    "kernel volume": partial(losses.kernel_volume, anchor=ANCHOR),
    "symile": losses.symile,
    "symile, all": partial(losses.symile, negatives="all"),
    "spectral": partial(losses.spectral, anchor=ANCHOR),
    "height": partial(losses.height, anchor=ANCHOR),
    "simplex": partial(losses.simplex, anchor=ANCHOR),
    "triangle": partial(losses.triangle, anchor=ANCHOR),
    "triangle, as released": partial(losses.triangle, anchor=ANCHOR, root=False),
    "sca": partial(losses.sca, anchor=ANCHOR),
    "supcon": partial(losses.supcon, anchor=ANCHOR),
    "supcon of volumes": partial(losses.supcon, anchor=ANCHOR, score_of=VolumeScore),
    "clip of volumes": partial(losses.clip, anchor=ANCHOR, score_of=VolumeScore),
    "siglip": partial(losses.siglip, anchor=ANCHOR),
    "siglip of volumes": partial(losses.siglip, anchor=ANCHOR, score_of=VolumeScore, bias=2.0),
    "matching": partial(losses.matching, anchor=ANCHOR, head=fitting),
    "alignment": without(losses.alignment, *ALONE),
    "distance": without(partial(losses.alignment, power=1.0), *ALONE),
    "uniformity": without(losses.uniformity, "temperature"),
    "modality gap": without(losses.modality_gap, "temperature", "groups", "engine"),
    "separation": without(losses.separation, "temperature"),
    "consistency": without(
        partial(losses.consistency, in_modal=0.5), "temperature", "groups", "engine"
    ),
    "vicreg": without(losses.vicreg, "temperature", "groups", "engine"),
}

ANY_TWO = {
    "clip, all pairs",
    "pmrl",
    "calmrl",
    "confu",
    "centrobind",
    "barybind, centroid",
    "symile",
    "symile, all",
    "alignment",
    "distance",
    "uniformity",
    "modality gap",
    "separation",
    "consistency",
    "vicreg",
}
"""Those that have no anchor."""

ALIKE = {
    "gram, squared",
    "gram, log",
    "gram, root",
    "supcon of volumes",
    "siglip of volumes",
    "triangle, as released",
}
"""Computed as other rows of the table are, with Scores that are tested by themselves."""

OTHERS = [name for name in EVERY if name not in ALIKE]

SAME_PATH = {
    "clip": "clip, all pairs",
    "vast": "clip, all pairs",
    "barybind": "gram",
    "hypergram": "gram",
    "kernel volume": "gram",
    "spectral": "gram",
    "height": "gram",
    "simplex": "gram",
    "triangle": "gram",
    "sca": "gram",
}
"""Computed as another loss is, with a Score that is tested by itself."""

PATHS = [name for name in OTHERS if name not in SAME_PATH]
"""One loss of each way to compute one."""

EXACTLY_THREE = {"confu", "symile, all", "triangle", "triangle, as released"}
"""Those for which two modalities are an error; ConFu takes more than three."""


def modalities_of(name):
    """As few as the loss takes."""
    return "abc" if name in EXACTLY_THREE else "ab"


def taking_part(name, embeddings, present):
    """Who has what the loss compares."""
    if name == "vast":
        embeddings = {m: embeddings[m] for m in "ab"}
        present = {m: present[m] for m in "ab"}
    return losses.participants(embeddings, present, None if name in ANY_TWO else ANCHOR)


def weighted(name, embeddings, temperature, **settings):
    """A sum that tells every example from every other, and the values themselves."""
    values = EVERY[name](embeddings, temperature=temperature, **settings)
    return jnp.vdot(values, jnp.arange(1.0, 1 + len(values))), values
