"""Settings for every test: simulated devices, strict promotion, reproducible hypothesis."""

import gc
import os
from pathlib import Path

# Before JAX looks for devices: libtpu, which compiles for TPUs here, would look for chips of its
# own first. For the tests marked `gpu`, set JAX_PLATFORMS=cuda,cpu.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import pytest

collect_ignore = ["golden/pretrained.py"]  # needs torch and transformers

# Before any array exists: the number of devices is read once, when the backend starts.
jax.config.update("jax_num_cpu_devices", 8)
# Tests compile much and compute little, and so do the commands that they start. Without
# optimisation of the machine code, and on jax up to 0.10 with what came before the emitters of
# fusions, all take far less time, and round otherwise here and there. In one part, because without
# optimisation XLA compiles the first of several in another way, so that the same kernel rounds in
# two. Flags of the environment come after these:
# XLA_FLAGS="--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true" tests what users
# get.
flags = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
    flags += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}"
jax.devices()
# What JAX keeps of programs is a large heap, which is not to be gone through again and again.
gc.set_threshold(100_000)
# Mixed dtypes and implicit broadcasting of ranks are nearly always mistakes in a loss.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Derandomised: a failure is a change in the code, never luck. `pytest --hypothesis-profile=search`
# looks for new counterexamples instead.
hypothesis.settings.register_profile(
    "default_tests", deadline=None, max_examples=20, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile("search", deadline=None, max_examples=500, print_blob=True)
hypothesis.settings.load_profile("default_tests")


@pytest.fixture
def x64():
    """Lets one test compute in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked(monkeypatch):
    """Lets one test give the library what jaxtyping would refuse before it does."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


@pytest.fixture
def data_root():
    """Returns a function from the name of a data set under GRAMALIGN_DATA to its folder."""

    def find(name: str) -> Path:
        root = os.environ.get("GRAMALIGN_DATA")
        if not root:
            pytest.skip(f"GRAMALIGN_DATA is not set: it names the folder that holds {name!r}")
        folder = Path(root) / name
        if not folder.is_dir():
            pytest.skip(f"GRAMALIGN_DATA={root} has no folder {name!r}")
        return folder

    return find


def pytest_collection_modifyitems(items):
    """Skips the tests marked `gpu` where JAX sees no GPU."""
    if any(item.get_closest_marker("gpu") for item in items) and jax.default_backend() != "gpu":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no GPU: set JAX_PLATFORMS=cuda,cpu"))


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Lets go of compiled programs before there are too many for one process.

    Each takes some hundred memory maps, of which Linux allows a process 65530; one more, and it
    crashes.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 25_000:
        jax.clear_caches()
