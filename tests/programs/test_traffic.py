"""What programs move from and to memory, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses
from gramalign.contrast import Engine
from gramalign.programs.traffic import Traffic, traffic
from tests.compilers import cuda, mesh_along

SIDE = 512
SIZE = SIDE * SIDE * 4  # bytes
X = jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)


def found(function, *arguments):
    return traffic(jax.jit(function).lower(*arguments).compile().as_text())


def test_operands_and_results_count_once():
    assert found(lambda x: jnp.tanh(x) + x, X) == Traffic(2 * SIZE)
    assert found(lambda x, y: jnp.tanh(x) * y, X, X) == Traffic(3 * SIZE)


def rows_added(x):
    return jax.lax.fori_loop(0, SIDE, lambda i, total: total + jnp.tanh(x[i]), jnp.zeros(SIDE))


def rows_replaced(x):
    return jax.lax.fori_loop(0, SIDE, lambda i, x: x.at[i].set(jnp.tanh(x[i])), x)


@pytest.mark.parametrize("function", [rows_added, rows_replaced])
def test_loops_over_slices_move_slices(function):
    """Each iteration moves a few rows, not the whole array."""
    assert SIZE <= found(function, X).moved <= 5 * SIZE


def test_loops_count_as_often_as_they_run():
    def repeated(number):
        return lambda x: jax.lax.fori_loop(0, number, lambda _, x: jnp.tanh(x @ x), x)

    one, more = (found(repeated(number), X).moved for number in (10, 110))
    assert more - one >= 100 * 3 * SIZE


def test_a_loop_of_unknown_length():
    def until(x):
        return jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: jnp.tanh(x) + x, x)

    unknown = found(until, X)
    assert not unknown.exact and 2 * SIZE <= unknown.moved <= 6 * SIZE


def test_of_a_conditional_the_branch_that_moves_more():
    def often(x):
        return jax.lax.fori_loop(0, 10, lambda _, x: jnp.tanh(x @ x), x)

    def either(x, which):
        return jax.lax.cond(which, often, lambda x: x, x)

    which = jax.ShapeDtypeStruct((), jnp.bool_)
    assert found(either, X, which).moved >= found(often, X).moved


HEAD = "HloModule m\n\n"
INSIDE = """%joined (p: f32[4,8], q: f32[1,8], i: s32[]) -> (f32[4,8], f32[8]) {
  %p = f32[4,8]{1,0} parameter(0)
  %q = f32[1,8]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  %s = f32[1,8]{1,0} dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,8}
  %sum = f32[1,8]{1,0} add(%s, %q)
  %put = f32[4,8]{1,0} dynamic-update-slice(%p, %sum, %i, %zero)
  %flat = f32[8]{0} bitcast(%sum)
  ROOT %both = (f32[4,8]{1,0}, f32[8]{0}) tuple(%put, %flat)
}

"""


def entry(*lines):
    body = "\n".join(f"  {line}" for line in lines)
    return (
        f"{HEAD}{INSIDE}ENTRY %main (a: f32[4,8], b: f32[1,8], n: s32[]) -> f32[] {{\n{body}\n}}\n"
    )


A = "%a = f32[4,8]{1,0} parameter(0)"
B = "%b = f32[1,8]{1,0} parameter(1)"
N = "%n = s32[] parameter(2)"


def test_a_fusion_that_updates_in_place():
    """A row of 32 bytes is read, one added, written to its place and to a result of its own."""
    fused = "%f = (f32[4,8]{1,0}, f32[8]{0}) fusion(%a, %b, %n), kind=kLoop, calls=%joined"
    assert traffic(entry(A, B, N, fused)).moved == 32 + 32 + 4 + 32 + 32


def test_an_operand_given_twice_is_read_once_and_a_scatter_moves_its_update():
    twice = "%f = f32[4,8]{1,0} multiply(%a, %a)"
    assert traffic(entry(A, twice)).moved == 128 + 128
    put = "%s = f32[4,8]{1,0} scatter(%a, %n, %b), to_apply=%add"
    assert traffic(entry(A, B, N, put)).moved == 4 + 32 + 32


def test_what_is_reduced_is_read_whole_and_of_what_is_sliced_the_slices():
    total = "%r = f32[8]{0} reduce(%a, %n), dimensions={0}, to_apply=%add"
    assert traffic(entry(A, N, total)).moved == 128 + 4 + 32
    picked = "%g = f32[2,8]{1,0} gather(%a, %n), slice_sizes={1,8}"
    assert traffic(entry(A, N, picked)).moved == 64 + 4 + 64


def test_what_lies_inside_a_core_does_not_count():
    a, b = A.replace("{1,0}", "{1,0:T(8,128)S(1)}"), B
    fused = "%f = (f32[4,8]{1,0:T(8,128)S(1)}, f32[8]{0}) fusion(%a, %b, %n), calls=%joined"
    assert traffic(entry(a, b, N, fused)).moved == 32 + 4 + 32
    fetched = "%c = (f32[4,8]{1,0:S(1)}, f32[4,8]{1,0}, u32[]{:S(2)}) copy-start(%a)"
    assert traffic(entry(A, fetched)).moved == 4 * 32
    left = fetched.replace(
        "(f32[4,8]{1,0:S(1)}, f32[4,8]{1,0}", "(f32[4,8]{1,0}, f32[4,8]{1,0:S(1)}"
    )
    assert traffic(entry(a, left)).moved == 4 * 32
    part = "%s = ((f32[4,8]{1,0}), f32[2,8]{1,0:S(1)}, s32[]) slice-start(%a), slice={[0:2], [0:8]}"
    done = "%d = f32[2,8]{1,0:S(1)} slice-done(%s)"
    assert traffic(entry(A, part, done)).moved == 2 * 32


def test_room_to_work_in_is_not_moved():
    call = (
        '%g = (f32[4,4]{1,0}, s8[4096]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm"'
    )
    assert traffic(entry(A, B, call)).moved == 128 + 32 + 64
    room = '%r = f32[4,8]{1,0} custom-call(), custom_call_target="AllocateBuffer"'
    assert traffic(entry(A, room)).moved == 0


def of_a_loss(topology, engine, batch):
    """Bytes that loss and gradient of GRAM move on each device, by pair of a row and a column."""
    mesh = mesh_along(topology)
    split = jax.NamedSharding(mesh, jax.P("data"))
    loss = losses.over_mesh(losses.gram, mesh)

    def mean(embeddings):
        return loss(embeddings, anchor="a", engine=engine).mean()

    shape = jax.ShapeDtypeStruct((batch, 512), jnp.bfloat16, sharding=split)
    counted = found(jax.value_and_grad(mean), dict.fromkeys("abcd", shape))
    assert counted.exact
    return counted.moved * mesh.size / batch**2


OVERLAPPED = """HloModule step, num_partitions=4

%begun (p: f32[8]) -> (f32[8], f32[32], u32[]) {
  %p = f32[8]{0} parameter(0)
  %g = f32[32]{0} all-gather(%p), replica_groups={{0,1,2,3}}, CHAIN
  ROOT %c = (f32[8]{0}, f32[32]{0}, u32[]{:S(2)}) custom-call(%g), TARGETStart"
}

%goes_on (p: f32[8], b: f32[32], q: f32[64]) -> (f32[64], f32[8], f32[32]) {
  %p = f32[8]{0} parameter(0)
  %b = f32[32]{0} parameter(1)
  %g = f32[32]{0} all-gather(%p), replica_groups={{0,1,2,3}}, CHAIN
  %q = f32[64]{0} parameter(2)
  %r = f32[64]{0} multiply(%q, %q)
  ROOT %t = (f32[64], f32[8], f32[32], f32[32]) tuple(%r, %p, %b, %g)
}

%ended (p: f32[8], b: f32[32]) -> f32[32] {
  %p = f32[8]{0} parameter(0)
  %b = f32[32]{0} parameter(1)
  %g = f32[32]{0} all-gather(%p), replica_groups={{0,1,2,3}}, CHAIN
  ROOT %c = f32[32]{0} custom-call(%p, %b, %g), TARGETDone"
}

ENTRY %main (x: f32[8], y: f32[64]) -> (f32[32], f32[64]) {
  %x = f32[8]{0} parameter(0)
  %y = f32[64]{0} parameter(1)
  %s = (f32[8]{0}, f32[32]{0}, u32[]{:S(2)}) fusion(%x), kind=kCustom, calls=%begun
  %x2 = f32[8]{0} get-tuple-element(%s), index=0
  %b2 = f32[32]{0} get-tuple-element(%s), index=1
  %m = (f32[64], f32[8], f32[32], f32[32]) fusion(%x2, %b2, %y), kind=kLoop, calls=%goes_on
  %x3 = f32[8]{0} get-tuple-element(%m), index=1
  %b3 = f32[32]{0} get-tuple-element(%m), index=3
  %e = f32[32]{0} fusion(%x3, %b3), kind=kCustom, calls=%ended
  %z = f32[64]{0} get-tuple-element(%m), index=0
  ROOT %out = (f32[32]{0}, f32[64]{0}) tuple(%e, %z)
}
""".replace("CHAIN", 'dimensions={0}, frontend_attributes={chain_id="0"}')
OVERLAPPED = OVERLAPPED.replace("TARGET", 'custom_call_target="AsyncCollective')


def test_a_collective_moves_what_it_moves_once_however_many_fusions_overlap_it():
    """They pass its arrays on, from the one that starts it to the one that waits for its end."""
    sent, gathered, squared = 8 * 4, 32 * 4, 2 * 64 * 4
    assert traffic(OVERLAPPED) == Traffic(sent + (sent + gathered) + squared)


@cuda
def test_tiles_of_a_gpu_pass_through_its_memory():
    """Three products of a pair in float32, written and read, forward and backward, are 48 bytes."""
    assert 48 < of_a_loss("h200:1", Engine(), 8192) < 220
