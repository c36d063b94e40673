"""Counting what devices send each other, on programs whose collectives are known by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.programs.collectives import Collective, collectives
from tests.compilers import cuda, mesh_along, tpu

DEVICES = 8
ROWS, DIM = 4, 16  # of each device
LOCAL = ROWS * DIM * 4  # bytes


def simulated():
    return jax.make_mesh((DEVICES,), ("data",), (jax.sharding.AxisType.Auto,))


def found(function, mesh, out_specs=None):
    """Collectives of a function of one device's rows."""
    out_specs = jax.P("data") if out_specs is None else out_specs
    mapped = jax.shard_map(function, mesh=mesh, in_specs=jax.P("data"), out_specs=out_specs)
    split = jax.NamedSharding(mesh, jax.P("data"))
    x = jax.ShapeDtypeStruct((mesh.size * ROWS, DIM), jnp.float32, sharding=split)
    return collectives(jax.jit(mapped).lower(x).compile().as_text())


def to_next(x, number=DEVICES):
    return jax.lax.ppermute(x, "data", [(i, (i + 1) % number) for i in range(number)])


def gather(x):
    return jax.lax.all_gather(x, "data", tiled=True)[:ROWS] * 2


def reduce(x):
    return jax.lax.psum(x, "data")


def scatter(x):
    return jax.lax.psum_scatter(jnp.tile(x, (DEVICES, 1)) * x[0, 0], "data", tiled=True)


def transpose(x):
    return jax.lax.all_to_all(jnp.tile(x, (DEVICES, 1)) * x[0, 0], "data", 0, 0, tiled=True)


@pytest.mark.parametrize(
    "function, kind, sent",
    [
        (gather, "all-gather", (DEVICES - 1) * LOCAL),
        (scatter, "reduce-scatter", (DEVICES - 1) * LOCAL),
        (transpose, "all-to-all", (DEVICES - 1) * LOCAL),
        (to_next, "collective-permute", LOCAL),
    ],
)
def test_bytes_that_a_device_sends(function, kind, sent):
    assert found(function, simulated()) == [Collective(kind, False, 1, sent, True)]


def test_a_reduction_sends_everything_twice_but_for_its_own_share():
    (one,) = found(reduce, simulated(), jax.P())
    assert (one.kind, one.count) == ("all-reduce", 1)
    assert one.sent == 2 * LOCAL * (DEVICES - 1) // DEVICES


def test_groups_of_fewer_devices():
    mesh = jax.make_mesh((2, 4), ("copy", "data"), (jax.sharding.AxisType.Auto,) * 2)
    (one,) = found(reduce, mesh, jax.P())
    # The mesh's other axis holds copies: a group is four devices, with a quarter of the rows each.
    assert one.sent == 2 * (2 * LOCAL) * 3 // 4


def ring(x, number):
    """As many steps as devices: all rows visit all devices and return home."""

    def step(state, _):
        total, visiting = state
        return (total + jnp.tanh(visiting), to_next(visiting, number)), None

    return jax.lax.scan(step, (jnp.zeros_like(x), x), length=number)[0][0]


def test_a_ring_sends_once_for_each_device():
    (one,) = found(partial(ring, number=DEVICES), simulated())
    assert one == Collective("collective-permute", False, DEVICES, DEVICES * LOCAL, True)


def test_a_loop_in_a_loop():
    def rings(x):
        return jax.lax.scan(lambda x, _: (ring(x, DEVICES), None), x, length=3)[0]

    (one,) = found(rings, simulated())
    assert (one.count, one.sent) == (3 * DEVICES, 3 * DEVICES * LOCAL)


def test_a_loop_of_unknown_length_is_taken_to_run_once():
    def until_small(x):
        return jax.lax.while_loop(
            lambda x: jax.lax.psum(x[0, 0], "data") > 1, lambda x: to_next(x) / 2, x
        )

    permutes = [c for c in found(until_small, simulated()) if c.kind == "collective-permute"]
    assert [(c.count, c.exact) for c in permutes] == [(1, False)]


def test_the_branch_that_sends_more():
    def either(x):
        # Once it sends more at a time, but less than the ring in all.
        branches = lambda x: jax.lax.psum(x, "data") * x, lambda x: ring(x, DEVICES)
        return jax.lax.cond(jax.lax.axis_size("data") * x[0, 0] > 0, *branches, x)

    (one,) = found(either, simulated())
    assert (one.kind, one.sent) == ("collective-permute", DEVICES * LOCAL)


def test_no_communication():
    assert found(jnp.tanh, simulated()) == []


def test_what_is_no_program():
    with pytest.raises(ValueError, match="not the text of a program"):
        collectives("hello\n")


@tpu
def test_a_ring_on_a_tpu_is_asynchronous_and_of_the_same_length():
    """This compiler does not state how often loops run."""
    mesh = mesh_along("v5e:2x4")
    (one,) = found(partial(ring, number=8), mesh)
    assert one == Collective("collective-permute", True, 8, 8 * LOCAL, True)


@pytest.mark.parametrize(
    "topology, arrays",
    [pytest.param("v5e:2x4", 5 + 6, marks=tpu), pytest.param("h100:8", 1 + 1, marks=cuda)],
)
def test_the_engine_sends_what_its_ring_is_made_of(topology, arrays):
    """Two halves, each sent once for each device, forward and backward.

    Forward, an example's column takes along its embedding, whether it is valid (1 byte), its group
    and two running statistics; backward also the embedding's derivative, and in place of the
    statistics a log-sum-exp and its cotangent. A GPU's compiler sends all of them as one.
    """
    batch, dim, devices = 512, 128, 8
    mesh = mesh_along(topology)
    loss = losses.over_mesh(losses.clip, mesh)
    split = jax.NamedSharding(mesh, jax.P("data"))
    shape = jax.ShapeDtypeStruct((batch, dim), jnp.float32, sharding=split)

    def mean(embeddings):
        return loss(embeddings, anchor="a", engine=Engine("ring", tile=32)).mean()

    program = jax.jit(jax.value_and_grad(mean)).lower(dict.fromkeys("ab", shape)).compile()
    ring = next(c for c in collectives(program.as_text()) if c.kind == "collective-permute")
    assert ring.count == 2 * devices * arrays
    forward, backward = 4 * dim + 1 + 3 * 4, 2 * 4 * dim + 1 + 3 * 4
    assert ring.sent == batch // devices * devices * (forward + backward)
    assert ring.asynchronous and ring.exact


FUSED = """HloModule step, num_partitions=4

%begun (p: f32[8]) -> (f32[8], f32[32]) {
  %p = f32[8]{0} parameter(0)
  %g = f32[32]{0:T(128)} all-gather(%p), replica_groups={{0,1,2,3}}, CHAIN
  ROOT %c = (f32[8]{0}, f32[32]{0}) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}

%goes_on (p: f32[8], q: f32[64]) -> f32[64] {
  %p = f32[8]{0} parameter(0)
  %q = f32[64]{0} parameter(1)
  %g = f32[32]{0:T(128)} all-gather(%p), replica_groups={{0,1,2,3}}, CHAIN
  ROOT %r = f32[64]{0} multiply(%q, %q)
}

ENTRY %main (x: f32[8], y: f32[64]) -> f32[64] {
  %x = f32[8]{0} parameter(0)
  %y = f32[64]{0} parameter(1)
  %start = (f32[8]{0}, f32[32]{0:T(128)}) fusion(%x), kind=kCustom, calls=%begun
  %meanwhile = f32[64]{0} fusion(%x, %y), kind=kLoop, calls=%goes_on
  %both = (f32[4]{0}, bf16[2,3]{1,0}) all-reduce(%x, %y), replica_groups=[1,4]<=[4], to_apply=%add
  ROOT %out = f32[64]{0} fusion(%x, %meanwhile), kind=kLoop, calls=%goes_on
}
""".replace("CHAIN", 'dimensions={0}, frontend_attributes={chain_id="0"}')


GROUPS = """HloModule step, num_partitions=16

ENTRY %main (x: f32[30]) -> f32[30] {{
  %x = f32[30]{{0}} parameter(0)
  ROOT %y = f32[30]{{0}} {kind}(%x), {groups}, dimensions={{0}}, to_apply=%a
}}
"""
IN_HOSTS = "replica_groups={{0,1,2,3,4,5,6,7},{8,9,10,11,12,13,14,15}}"
BETWEEN_HOSTS = "replica_groups=[8,2]<=[2,8]T(1,0)"
OF_FOUR = "replica_groups=mesh['host'=2,'gpu'=8] {'host','gpu':(4)2}"
RING = "source_target_pairs={" + ",".join(f"{{{i},{(i + 1) % 16}}}" for i in range(16)) + "}"


@pytest.mark.parametrize(
    "kind, groups, sent, leaving",
    [
        ("reduce-scatter", IN_HOSTS, 120 * 7, 0),
        # Each device by its own network card: two of each host in a group, or one, or all.
        ("reduce-scatter", OF_FOUR, 120 * 3, 120 * 3 // 2),
        ("reduce-scatter", BETWEEN_HOSTS, 120, 120),
        ("reduce-scatter", "replica_groups={}", 120 * 15, 120 * 15 // 8),
        ("reduce-scatter", "replica_groups={{0,8,9}}", 120 * 2, 120 * 2),  # one of a host, for all
        ("collective-broadcast", BETWEEN_HOSTS, 120, 120),
        ("all-to-all", "replica_groups={}", 120 * 15 // 16, 120 * 15 // 16 * 8 // 15),
        ("collective-permute", RING, 120, 120),
        ("collective-permute", "source_target_pairs={{0,1},{8,9}}", 120, 0),
        ("collective-permute", "source_target_pairs=@unread", 120, 120),  # as between hosts
    ],
)
def test_what_leaves_a_host(kind, groups, sent, leaving):
    (one,) = collectives(GROUPS.format(kind=kind, groups=groups), [0] * 8 + [1] * 8)
    assert (one.sent, one.leaving) == (sent, leaving)


def test_groups_that_cannot_be_read_count_as_all_devices():
    (one,) = collectives(GROUPS.format(kind="all-gather", groups="replica_groups=@rows{a=4}"))
    assert one == Collective("all-gather", False, 1, 120 * 15 // 16, True, unread=1)


@pytest.mark.parametrize(
    "before, after, group, leaves",
    [
        (("gpu",), (), 4, False),
        (("host",), (), 2, True),
        (("host", "gpu"), ("host",), 4, False),
        (("gpu", "host"), ("gpu",), 2, True),
    ],
)
def test_groups_as_the_compiler_writes_them(before, after, group, leaves):
    """These four meshes make it write groups in three ways."""
    mesh = jax.make_mesh((2, 4), ("host", "gpu"), (jax.sharding.AxisType.Auto,) * 2)
    shardings = [jax.NamedSharding(mesh, jax.P(axes)) for axes in (before, after)]
    x = jax.ShapeDtypeStruct((8, DIM), jnp.float32, sharding=shardings[0])
    step = jax.jit(lambda x: 2 * x, out_shardings=shardings[1])
    (one,) = collectives(step.lower(x).compile().as_text(), [0] * 4 + [1] * 4)
    size = 8 * DIM * 4 // (mesh.shape[after[0]] if after else 1)
    assert one.sent == size * (group - 1) // group
    assert one.leaving == (one.sent if leaves else 0)


def test_what_leaves_a_host_is_told_apart_from_what_does_not():
    mesh = jax.make_mesh((2, 4), ("host", "data"), (jax.sharding.AxisType.Auto,) * 2)

    def both(x):
        return jax.lax.psum(jnp.tanh(jax.lax.psum(x, "data")), "host")

    mapped = jax.shard_map(both, mesh=mesh, in_specs=jax.P(("host", "data")), out_specs=jax.P())
    x = jax.ShapeDtypeStruct((32, DIM), jnp.float32)
    text = jax.jit(mapped).lower(x).compile().as_text()
    inside, between = collectives(text, [0] * 4 + [1] * 4)
    assert (inside.sent, inside.leaving) == (2 * LOCAL * 3 // 4, 0)
    assert between.sent == between.leaving == LOCAL
    assert [one.count for one in collectives(text)] == [2]


def test_a_collective_in_pieces_among_computation_counts_once():
    """As a TPU's compiler prints it; and a reduction of two arrays at once."""
    assert collectives(FUSED) == [
        Collective("all-gather", True, 1, 3 * 8 * 4, True),
        Collective("all-reduce", False, 1, 2 * (4 * 4 + 6 * 2) * 3 // 4, True),
    ]


LOOP = """HloModule step, num_partitions=4

%body (p: (s32[], s32[], f32[8])) -> (s32[], s32[], f32[8]) {
  %p = (s32[], s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %end = s32[] get-tuple-element(%p), index=1
  %x = f32[8]{0} get-tuple-element(%p), index=2
  %step = s32[] constant(3)
  %next = s32[] add(%i, %step)
  %y = f32[8]{0} all-reduce(%x), replica_groups={}, to_apply=%add
  ROOT %out = (s32[], s32[], f32[8]{0}) tuple(%next, %end, %y)
}

%condition (p: (s32[], s32[], f32[8])) -> pred[] {
  %p = (s32[], s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %end = s32[] get-tuple-element(%p), index=1
  ROOT %less = pred[] compare(%i, %end), direction=LT
}

ENTRY %main (x: f32[8], n: s32[]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %n = s32[] parameter(1)
  %first = s32[] constant(1)
  %last = s32[] constant(11)
  %t = (s32[], s32[], f32[8]{0}) tuple(%first, %last, %x)
  %w = (s32[], s32[], f32[8]{0}) while(%t), condition=%condition, body=%body
  ROOT %r = f32[8]{0} get-tuple-element(%w), index=2
}
"""


def test_a_collective_in_what_is_called():
    called = LOOP.replace("while(%t), condition=%condition, body=%body", "call(%t), to_apply=%body")
    assert collectives(called) == [Collective("all-reduce", False, 1, 2 * 32 * 3 // 4, True)]


@pytest.mark.parametrize(
    "change, by, times",
    [
        ("", "", 4),  # from 1, 4, 7 and 10
        ("constant(11)", "constant(10)", 3),
        ("constant(11)", "constant(1)", 0),
        ("tuple(%first, %last", "tuple(%n, %last", None),
        ("tuple(%first, %last", "tuple(%first, %n", None),
        ("tuple(%next, %end", "tuple(%next, %next", None),
        ("add(%i, %step)", "add(%i, %end)", 1),
        ("constant(3)", "constant(0)", None),
        ("direction=LT", "direction=NE", None),
    ],
)
def test_how_often_a_loop_runs_that_does_not_say_so(change, by, times):
    """As a TPU's compiler prints it: a counter's start, its step and its end have to be found."""
    (one,) = collectives(LOOP.replace(change, by))
    assert (one.count, one.exact) == (1 if times is None else times, times is not None)


SCATTERED = """HloModule step, num_partitions=4

%all-reduce-scatter (a: f32[8,2], b: f32[4]) -> (f32[2,2], f32[1]) {
  %a = f32[8,2]{1,0} parameter(0)
  %b = f32[4]{0} parameter(1)
  %sum = (f32[8,2]{1,0}, f32[4]{0}) all-reduce(%a, %b), replica_groups={{0,1,2,3}}, to_apply=%add
  %whole = f32[8,2]{1,0} get-tuple-element(%sum), index=0
  %zero = u32[] constant(0)
  %id = u32[] partition-id()
  %start = u32[] multiply(%id, %id)
  %part = f32[2,2]{1,0} dynamic-slice(%whole, %start, %zero), dynamic_slice_sizes={2,2}
  %other = f32[4]{0} get-tuple-element(%sum), index=1
  %second = f32[1]{0} dynamic-slice(%other, %id), dynamic_slice_sizes={1}
  ROOT %both = (f32[2,2]{1,0}, f32[1]{0}) tuple(%part, SECOND)
}

ENTRY %main (x: f32[8,2], y: f32[4]) -> (f32[2,2], f32[1]) {
  %x = f32[8,2]{1,0} parameter(0)
  %y = f32[4]{0} parameter(1)
  ROOT %f = (f32[2,2]{1,0}, f32[1]{0}) fusion(%x, %y), kind=kCustom, calls=%all-reduce-scatter
}
"""


def test_a_tpu_scatters_what_it_reduces_in_a_fusion():
    """Of a sum of which each device keeps a slice it receives no more, so half is sent."""
    scattered = SCATTERED.replace("SECOND", "%second")
    assert collectives(scattered) == [Collective("reduce-scatter", False, 1, (4 + 1) * 4 * 3, True)]
    used_whole = SCATTERED.replace("SECOND", "%other")
    called = scattered.replace("fusion(", "call(").replace("kind=kCustom, calls", "to_apply")
    for whole in (used_whole, called):
        assert collectives(whole) == [
            Collective("all-reduce", False, 1, 2 * (16 + 4) * 4 * 3 // 4, True)
        ]


STARTED = """HloModule step, num_partitions=4

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %a = ((f32[8]{0}), f32[8]{0}) all-to-all-start(%x), GROUPS{"is_sync":true}
  %b = f32[8]{0} all-to-all-done(%a)
  %c = ((f32[8]{0}), f32[2]{0}) reduce-scatter-start(%b), GROUPS{"is_sync":false}
  %d = f32[2]{0} reduce-scatter-done(%c)
  %e = SUMS all-reduce-start(%x, %y), GROUPS{"is_sync":false}
  ROOT %f = f32[8]{0} all-reduce-done(%e)
}
""".replace("GROUPS", "replica_groups=[1,4]<=[4], backend_config=")


@pytest.mark.parametrize(
    "sums", ["(f32[8]{0}, f32[4]{0})", "((f32[8]{0}, f32[4]{0}), (f32[8]{0}, f32[4]{0}))"]
)
def test_what_a_gpu_starts_counts_what_comes_of_it(sums):
    """Shapes name operands too, those of an all-reduce from jax 0.12 on; some starts wait."""
    assert collectives(STARTED.replace("SUMS", sums)) == [
        Collective("all-reduce", True, 1, 2 * (8 + 4) * 4 * 3 // 4, True),
        Collective("all-to-all", False, 1, 8 * 4 * 3 // 4, True),
        Collective("reduce-scatter", True, 1, 2 * 4 * 3, True),
    ]
