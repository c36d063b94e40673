"""What is special to VAST: it is CLIP of two entries, and sees no other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import samples

EMBEDDINGS = samples.as_jax(samples.embeddings(np.random.default_rng(0), 8, 6, "abc"))
HAVE = {"c": jnp.arange(8) < 6, "b": jnp.arange(8) < 3}


def vast(embeddings, present=None):
    return losses.vast(embeddings, anchor="a", fused="c", present=present)


def test_it_is_clip_of_the_anchor_and_the_fused_entry():
    two = {name: EMBEDDINGS[name] for name in "ac"}
    exact = losses.clip(two, anchor="a", label_smoothing=0.1, present={"c": HAVE["c"]})
    np.testing.assert_array_equal(vast(EMBEDDINGS, HAVE), exact)


def test_other_entries_play_no_part():
    values, gradient = jax.value_and_grad(lambda x: vast(x, HAVE).sum())(EMBEDDINGS)
    broken = EMBEDDINGS | {"b": jnp.full_like(EMBEDDINGS["b"], jnp.nan)}
    assert values == vast(broken, HAVE).sum()
    np.testing.assert_array_equal(gradient["b"], 0)


def test_who_lacks_the_fused_entry_takes_no_part():
    np.testing.assert_array_equal(vast(EMBEDDINGS, HAVE) != 0, HAVE["c"])


@pytest.mark.parametrize(
    "names, settings, message",
    [
        ("abc", {"anchor": "a", "fused": "a"}, "fused is 'a', the anchor itself"),
        ("abc", {"anchor": "a", "fused": ""}, "fused is '', but the modalities are"),
        ("abc", {"anchor": "a"}, r"lacks the fused \['b\+c'\], .*gramalign.models.FusionHead"),
        (
            "abc",
            {"anchor": None, "fused": "c"},
            "fused='c' is made from all modalities but one anchor",
        ),
        (["a+b", "b+c"], {"anchor": None}, "embeddings holds only fused ones, no anchor"),
    ],
)
def test_what_is_no_anchor_and_no_fusion(names, settings, message):
    embeddings = {name: EMBEDDINGS["a"] for name in names}
    with pytest.raises(ValueError, match=message):
        losses.vast(embeddings, **settings)
