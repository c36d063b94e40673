"""Who takes part in a collective together, in every way that XLA has of writing it."""

import pytest

from gramalign.programs.groups import groups_of


@pytest.mark.parametrize(
    "text, groups",
    [
        ("replica_groups={{0,1,2},{3,4,5}}", [[0, 1, 2], [3, 4, 5]]),
        ("replica_groups={{0,3},{1},{2,4,5}}", [[0, 3], [1], [2, 4, 5]]),
        ("replica_groups={}", [[0, 1, 2, 3, 4, 5]]),
        ("channel_id=1", [[0, 1, 2, 3, 4, 5]]),
        ("replica_groups=[2,3]<=[6]", [[0, 1, 2], [3, 4, 5]]),
        ("replica_groups=[3,2]<=[2,3]T(1,0)", [[0, 3], [1, 4], [2, 5]]),
        ("replica_groups=mesh['a'=2,'b'=3] {'b'}", [[0, 1, 2], [3, 4, 5]]),
        ("replica_groups=mesh['a'=2,'b'=3]{'a'}", [[0, 3], [1, 4], [2, 5]]),
        ("replica_groups=mesh['a'=2,'b'=3] {'a','b'}", [[0, 1, 2, 3, 4, 5]]),
        ("replica_groups=mesh['a'=6] {'a':(1)2}", [[0, 3], [1, 4], [2, 5]]),
        ("replica_groups=mesh['a'=6] {'a':(2)3}", [[0, 1, 2], [3, 4, 5]]),
        (
            "replica_groups=mesh['a'=3,'b'=2], device_ids=([2,3]T(1,0)) {'b'}",
            [[0, 3], [1, 4], [2, 5]],
        ),
        (
            "replica_groups=mesh['a'=3,'b'=2], device_ids=(5,4,3,2,1,0) {'b'}",
            [[5, 4], [3, 2], [1, 0]],
        ),
        ("source_target_pairs={{0,1},{1,0}}, channel_id=1", [[0, 1], [1, 0]]),
    ],
)
def test_every_way_of_writing_groups(text, groups):
    assert [list(group) for group in groups_of(f"dimensions={{0}}, {text}, x={{0}}", 6)] == groups


def test_a_way_that_is_not_known():
    assert groups_of("dimensions={0}, replica_groups=@rows{a=3}, x={0}", 6) is None
