"""Memory of loss and gradient on GPUs, compiled ahead of time: GRAM, 4 modalities of 512."""

from tests.compilers import cuda
from tests.contrast.ahead import compiled

pytestmark = cuda


def test_a_ring_of_16_gpus():
    memory, text = compiled("h100:2x8", 32768, "ring")
    assert memory <= 48
    assert "collective-permute" in text and "all-gather" not in text


def test_a_ring_of_16_gpus_and_a_large_batch():
    assert compiled("h100:2x8", 131072, "ring")[0] <= 200


def test_a_ring_of_256_gpus_takes_no_more():
    """At the same batch per GPU."""
    few, many = (compiled(*at, "ring")[0] for at in [("h100:2x8", 32768), ("h100:32x8", 524288)])
    assert many <= 1.05 * few


def test_one_gpu_and_a_batch_of_which_no_score_matrix_would_fit():
    """Of 262144 by 262144 float32, which are 256 GiB; linear in the batch."""
    some, many = (compiled("h200:1", batch, None)[0] for batch in (65536, 262144))
    assert some <= 1400 and many <= 4 * some
