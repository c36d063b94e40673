"""What commands leave in files is JSON for any reader."""

import json

from gramalign.cli.figures import write_figures


def test_what_is_no_number_is_null(tmp_path):
    """JSON knows no NaN, whatever Python writes and reads."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    write_figures(tmp_path / "f.json", {"rows": [{"loss": float("nan"), "batch": 8}], "of": None})
    found = json.loads((tmp_path / "f.json").read_text(), parse_constant=refuse)
    assert found == {"rows": [{"loss": None, "batch": 8}], "of": None}
