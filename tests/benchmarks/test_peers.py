"""The published code in torch computes what gramalign computes."""

import math
import subprocess

import jax
import numpy as np
import pytest

from gramalign.benchmarks import accuracy, largest, patience, rounds
from gramalign.benchmarks.peer import LOSS_TOLERANCE, Peer, gradient_difference
from gramalign.benchmarks.steps import made_up, place, step
from gramalign.benchmarks.workload import Way
from tests.losses.test_golden import CASES, golden

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["gram", "pmrl", "clip"])
def test_the_same_loss_and_gradient(method, dtype):
    embeddings = made_up(24, 3, 32)
    loss, gradients = step(method, Way(24))(place(embeddings, dtype, 1))
    peer_loss, peer_gradients = Peer(method, embeddings, dtype, threads=1, device="cpu").values()
    np.testing.assert_allclose(float(loss), peer_loss, rtol=LOSS_TOLERANCE[dtype])
    close = 1e-3 if dtype == "float32" else 5e-2
    assert gradient_difference(jax.device_get(gradients), peer_gradients) < close


def leaves(case):
    return [torch.tensor(x, requires_grad=True) for x in golden(case)["embeddings"]]


@pytest.mark.parametrize("case", CASES)
def test_gram_is_the_official_codes(case):
    from gramalign.benchmarks import peers

    embeddings, wanted = leaves(case), golden(case)
    loss = peers.gram(embeddings, temperature=CASES[case]["temperature"])
    np.testing.assert_allclose(loss.item(), wanted["gram_loss_official"], rtol=1e-6)
    gradients = np.stack([x.numpy() for x in torch.autograd.grad(loss, embeddings)])
    largest = np.abs(wanted["gram_grad_official"]).max()
    np.testing.assert_allclose(gradients, wanted["gram_grad_official"], atol=2e-5 * largest)


@pytest.mark.parametrize("case", CASES)
def test_pmrl_is_the_official_codes(case):
    """Term by term: at an infinite temperature the other is the logarithm of its classes.

    The official cosines have the signs that its decomposition left to chance; these are turned.
    """
    from gramalign.benchmarks import peers

    embeddings, official = leaves(case), golden(case)
    alignment = peers.pmrl(embeddings, tau_instance=math.inf).item() - math.log(len(embeddings[0]))
    np.testing.assert_allclose(alignment, official["pmrl_alignment_official"], atol=2e-6)

    tuples = np.moveaxis(official["embeddings"], 0, 2).astype(np.float64)
    leading = np.linalg.svd(tuples)[0][:, :, 0]
    leading *= np.sign(np.sum(leading * tuples.sum(axis=2), axis=1, keepdims=True))
    logits = np.sign(leading @ leading.T) * official["abs_leading_cosine_official"] / 0.1
    wanted = np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))
    instance = peers.pmrl(embeddings, tau_alignment=math.inf).item() - math.log(len(embeddings))
    np.testing.assert_allclose(instance, wanted, atol=2e-6)


def test_volumes_are_those_of_all_pairs():
    from gramalign.benchmarks.peers import gram_volumes

    anchor, *others = made_up(5, 3, 8).values()
    tensors = [torch.from_numpy(x) for x in (anchor, *others)]
    volumes = gram_volumes(tensors[0], tensors[1:]).numpy()
    pairs = np.array(
        [[[anchor[i], *(other[j] for other in others)] for j in range(5)] for i in range(5)]
    )
    wanted = accuracy.reference(pairs.reshape(25, 3, 8)).reshape(5, 5)
    np.testing.assert_allclose(volumes, wanted, rtol=1e-4)


def test_the_gradients_differ_by_their_largest_entry():
    ours = {"a": np.float32([[1.0, 2.0]]), "b": np.float32([[0.0, 0.0]])}
    theirs = [np.float32([[1.0, 2.0]]), np.float32([[4.0, 0.0]])]
    assert gradient_difference(ours, theirs) == 1.0


def test_the_largest_batch_is_found_by_doubling(monkeypatch):
    monkeypatch.setattr(rounds, "FILL", 1e-9)
    run = Peer.run

    def find(*of, **options):
        return [dict(found) for found in largest.find(*of, **options)]

    def fail_from_64(self):
        if len(self._leaves[0]) >= 64:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return run(self)

    monkeypatch.setattr(Peer, "run", fail_from_64)
    monkeypatch.setattr(largest, "SMALLEST", 8)
    *steps, found = find("clip", 2, 8, "float32", "cpu", 60)
    assert (found["batch"], found["ended_at"]) == (32, "out of memory")
    assert found["seconds"] > 0 and found["peak_bytes"] is None
    assert [step["batch"] for step in steps] == [8, 16, 32]
    assert all(step["ended_at"] is None for step in steps)

    *_, found = find("clip", 2, 8, "float32", "cpu", 60, highest=16)
    assert (found["batch"], found["ended_at"]) == (16, "the largest batch allowed")

    monkeypatch.setattr(patience, "seconds", lambda run: float(len(run.__self__._leaves[0])))
    *_, found = find("clip", 2, 8, "float32", "cpu", 64)  # four times as long for twice as many
    assert (found["batch"], found["ended_at"]) == (32, "more than 64 s per call")
    *_, found = find("pmrl", 2, 8, "float32", "cpu", 32)
    assert (found["batch"], found["ended_at"]) == (32, "more than 32 s per call")

    monkeypatch.undo()
    monkeypatch.setattr(Peer, "run", fail_from_64)
    monkeypatch.setattr(largest, "SMALLEST", 64)
    (found,) = find("clip", 2, 8, "float32", "cpu", 60)
    assert found["batch"] is found["seconds"] is None


@pytest.mark.slow
def test_the_search_is_a_program_of_its_own():
    found = largest.elsewhere("pmrl", 2, 8, "bfloat16", "cpu", 60, 256)
    assert found["method"] == "pmrl" and found["dtype"] == "bfloat16"
    assert found["batch"] == 256 and found["seconds"] > 0
    found = largest.elsewhere("pmrl", 2, 8, "float32", "nowhere", 60, 256)
    assert found["batch"] is None and "nowhere" in found["ended_at"]


def test_what_a_process_had_found_before_it_failed_or_hung(monkeypatch):
    printed = '{"batch": 8, "ended_at": null, "seconds": 1.0, "peak_bytes": null}\n{"batch": 16, '

    def hang(*_, timeout, **__):
        assert timeout == 60 + 6 * 2
        raise subprocess.TimeoutExpired("python", timeout, printed.encode())

    def fail(*_, **__):
        return subprocess.CompletedProcess([], 1, printed, "Traceback\nCUDA error: dead")

    for run, why in ((hang, "took more than 72 s"), (fail, "CUDA error: dead")):
        monkeypatch.setattr(subprocess, "run", run)
        found = largest.elsewhere("clip", 2, 8, "float32", "cuda", 2)
        assert (found["batch"], found["seconds"]) == (8, 1.0)
        assert found["ended_at"].endswith(why)
    printed = ""
    assert largest.elsewhere("clip", 2, 8, "float32", "cuda", 2)["batch"] is None
