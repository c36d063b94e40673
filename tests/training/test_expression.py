import pytest

from gramalign.training.expression import parse

KNOWN = ("gram", "pmrl", "clip")


@pytest.mark.parametrize(
    ("expression", "weights"),
    [
        ("gram", {"gram": 1.0}),
        ("gram + 0.3*clip", {"gram": 1.0, "clip": 0.3}),
        ("0.5 * my.losses:hinge + clip", {"my.losses:hinge": 0.5, "clip": 1.0}),
        (" 2 * pmrl+1e+1*clip + 1e-3*gram ", {"pmrl": 2.0, "clip": 10.0, "gram": 1e-3}),
    ],
)
def test_expressions(expression, weights):
    assert parse(expression, KNOWN) == weights


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("gramm", "unknown term 'gramm'; the terms are gram, pmrl, clip"),
        ("my.hinge", "unknown term 'my.hinge'; .*, or your own as package.module:name"),
        ("gram + gram", "'gram' appears twice"),
        ("gram + ", "'' is not a term; expected a name or weight"),
        ("", "'' is not a term"),
        ("0.3clip", "'0.3clip' is not a term"),
        ("clip*0.3", "'clip\\*0.3' is not a term"),
        ("x*clip", "weight 'x' is not a number"),
        ("0*clip", "weight 0 must be positive and finite"),
        ("-1*clip", "weight -1 must be positive and finite"),
        ("nan*clip", "weight nan must be positive and finite"),
    ],
)
def test_bad_expressions_name_the_part(expression, message):
    with pytest.raises(ValueError, match=message):
        parse(expression, KNOWN)
