"""The published code as a peer to compare with: where it can run, one loss and its gradients."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from gramalign.benchmarks.workload import PUBLISHED, Method, Workload
from gramalign.programs.chips import GIB

LOSS_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
"""Largest relative difference between two losses that count as the same, by dtype: the published
code rounds every inner product to bfloat16, to a 256th of it."""


def without_torch() -> str | None:
    """Why torch cannot be used, or None if it can."""
    if find_spec("torch") is None:
        return "torch is not installed: run make bench, or pip install 'gramalign[bench]'"
    try:
        import torch  # pyright: ignore[reportMissingImports]  # noqa: F401
    except (ImportError, OSError) as error:  # such as a CUDA library in JAX's version, not its own
        return f"torch cannot be imported: {str(error).partition(chr(10))[0]}"
    return None


def why_not(workload: Workload, devices: int, limit: int | None) -> str | None:
    """Why a workload has no peer here, or None if it has one.

    Args:
        workload: what to compute.
        devices: how many devices gramalign uses.
        limit: largest batch to try the peer with; None: any.
    """
    platform = jax.default_backend()
    if workload.method not in PUBLISHED:
        return f"published code exists only for {', '.join(PUBLISHED)}"
    if problem := without_torch():
        return problem
    if platform not in ("cpu", "gpu"):
        return f"JAX runs on a {platform.upper()}, but torch cannot"
    if platform == "gpu" and not _cuda():
        return "JAX runs on a GPU, but this torch sees none"
    if platform == "gpu" and devices > 1:
        return f"the peer runs on one GPU, gramalign on {devices}"
    if limit is not None and workload.batch > limit:
        return f"the peer is not run above --peer-limit {limit}"
    needed, there = least_bytes(workload), _memory(peer_device())
    if needed > there:
        return (
            f"the peer needs at least {needed / GIB:.0f} GiB, but {there / GIB:.0f} are available"
        )
    return None


def least_bytes(workload: Workload) -> int:
    """A lower bound on the published code's memory: the largest array that it holds."""
    pairs, tuples, k = workload.batch**2, workload.batch, workload.modalities
    # Computed in the embeddings' dtype, and then in float32 beside it.
    number = 4 if workload.dtype == "float32" else 2 + 4
    if workload.method == "gram":
        return number * k * k * pairs  # the Gram matrices of all pairs
    if workload.method == "pmrl":
        return 4 * workload.dim**2 * tuples  # the left factors
    return number * pairs  # the logits with one modality


def _memory(where: str) -> int:
    """Total memory in bytes of the device that torch computes on, free or not."""
    if where == "cuda":
        import torch  # pyright: ignore[reportMissingImports]

        return torch.cuda.mem_get_info()[1]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Peer:
    """Loss and gradients of a method in torch, with JAX's inputs on JAX's device."""

    def __init__(
        self,
        method: Method,
        embeddings: Mapping[str, Float[np.ndarray, "batch dim"]],
        dtype: str,
        threads: int,
        device: str,
    ):
        import torch  # pyright: ignore[reportMissingImports]

        from gramalign.benchmarks.peers import METHODS

        self._torch, self._loss = torch, METHODS[method]
        self._threads, self._device = threads, device
        self._leaves = [
            torch.tensor(x, dtype=getattr(torch, dtype), device=device, requires_grad=True)
            for x in embeddings.values()
        ]

    def run(self) -> tuple[Any, tuple[Any, ...]]:
        """Loss and gradients as tensors, once they are computed."""
        if self._device == "cpu":
            self._torch.set_num_threads(self._threads)
        loss = self._loss(self._leaves)
        gradients = self._torch.autograd.grad(loss, self._leaves)
        if self._device == "cuda":
            self._torch.cuda.synchronize()
        return loss, gradients

    def values(self) -> tuple[float, list[Float[np.ndarray, "batch dim"]]]:
        """The same as numbers."""
        loss, gradients = self.run()
        return loss.item(), [gradient.float().cpu().numpy() for gradient in gradients]

    def peak_bytes(self) -> int | None:
        """Peak memory that torch has held for it on the GPU so far; None on a CPU."""
        return self._torch.cuda.max_memory_allocated() if self._device == "cuda" else None


def peer_device() -> str:
    """Torch's name for the kind of device that JAX computes on."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def release(device: str) -> None:
    """Frees the GPU memory that torch has cached, and resets its peak."""
    if device == "cuda":
        import torch  # pyright: ignore[reportMissingImports]

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def gradient_difference(
    ours: Mapping[str, Float[np.ndarray, "batch dim"]],
    theirs: list[Float[np.ndarray, "batch dim"]],
) -> float:
    """Largest difference between two gradients, relative to their largest entry."""
    largest = max(float(np.abs(x).max()) for x in theirs)
    pairs = zip(ours.values(), theirs, strict=True)
    return max(float(np.abs(x.astype(np.float32) - y).max()) for x, y in pairs) / largest


def _cuda() -> bool:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.cuda.is_available()
