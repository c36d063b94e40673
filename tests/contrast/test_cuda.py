"""Memory of loss and gradient on GPUs, compiled ahead of time: GRAM, 4 modalities of 512."""

from tests.compilers import cuda
from tests.contrast.ahead import compiled

pytestmark = cuda


def test_a_ring_of_16_gpus():
    memory, text = compiled("h100:2x8", 32768, "ring")
    assert memory <= 52
    assert "collective-permute" in text and "all-gather" not in text


def test_a_ring_of_16_gpus_and_a_large_batch():
    assert compiled("h100:2x8", 131072, "ring")[0] <= 200


def test_a_ring_of_256_gpus_takes_no_more():
    """At the same batch per GPU."""
    few, many = (compiled(*at, "ring")[0] for at in [("h100:2x8", 32768), ("h100:32x8", 524288)])
    assert many <= 1.05 * few


def test_one_gpu_and_a_batch_of_which_no_score_matrix_would_fit():
    """Of a million by a million in float32, which are 4 TiB; linear in the batch."""
    sizes = [65536 * many for many in (1, 4, 16)]
    some, more, most = (compiled("h200:1", size, None)[0] for size in sizes)
    assert some <= 1400 and more <= 4 * some and most <= 4.3 * more
