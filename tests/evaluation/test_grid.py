import re

import pytest

from gramalign.evaluation import Cell, Grid, to_latex, to_markdown, to_rich, to_text

AWKWARD = "a_b & 5% of $x$ #1 {y} ~ ^ \\ | <i> -> ± [z](w) `c` *d* [bold]e[/bold]"


def grid(*rows, labels=1, caption="what it means", columns=("objective", "a R@1, own", "b")):
    return Grid("Title", columns, rows, caption, labels)


SMALL = grid(
    (Cell("0.3*log_volume"), Cell("84.0 ± 2.5", "*", bold=True), Cell("n/a")),
    (Cell("clip"), Cell("83.0 ± 0.1", "~"), Cell("1 (1-2)")),
)


def test_markdown():
    assert to_markdown(SMALL).split("\n") == [
        "**Title**",
        "",
        "| objective | a R@1, own | b |",
        "| --- | ---: | ---: |",
        r"| 0.3\*log\_volume | **84.0 ± 2.5**\* | n/a |",
        r"| clip | 83.0 ± 0.1\~ | 1 (1-2) |",
        "",
        "what it means",
    ]
    assert not to_markdown(grid(caption="")).endswith("\n")


def test_latex():
    assert to_latex(SMALL).split("\n") == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Title. what it means}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"objective & \shortstack[r]{a\\R@1\\own} & b \\",
        r"\midrule",
        r"0.3*log\_volume & \textbf{84.0 $\pm$ 2.5}$^{*}$ & n/a \\",
        r"clip & 83.0 $\pm$ 0.1$^{\sim}$ & 1 (1-2) \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    # Not an option of the line before.
    assert "\n{}[x] &" in to_latex(grid((Cell("[x]"), Cell("1"), Cell("2"))))
    assert r"\caption{Title}" in to_latex(grid(caption=""))


def test_nothing_in_a_name_is_taken_for_a_command():
    awkward = grid((Cell(AWKWARD), Cell("1"), Cell("two\nlines")), caption=AWKWARD)
    row = to_latex(awkward).split("\n")[8]
    assert row == (
        r"a\_b \& 5\% of \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textbar{} \textless{}i\textgreater{} $\rightarrow$ $\pm$ [z](w) `c` *d* "
        r"[bold]e[/bold] & 1 & two lines \\"
    )
    assert row.count("{") - row.count(r"\{") == row.count("}") - row.count(r"\}")
    row = to_markdown(awkward).split("\n")[4]
    assert len(re.findall(r"(?<!\\)\|", row)) == 4  # of three cells
    assert "<" not in row and re.search(r"(?<!\\)[*_`\[]", row) is None
    assert AWKWARD[:20] in to_text(to_rich(awkward), width=200)
    assert "[bold]e[/bold]" in to_text(to_rich(awkward), width=200)


def test_the_console_keeps_figures_in_line():
    unmarked = (Cell("pmrl"), Cell("9.0"), Cell("3"))
    assert to_text(to_rich(grid(*SMALL.rows, unmarked))).splitlines() == [
        "Title",
        "                           a",
        "                         R@1",
        "objective                own         b",
        "──────────────────────────────────────",
        "0.3*log_volume   84.0 ± 2.5*       n/a",
        "clip             83.0 ± 0.1~   1 (1-2)",
        "pmrl                    9.0          3",
        "what it means",
    ]


def test_a_wide_grid_comes_in_parts_that_each_say_what_a_row_is():
    names = ("objective", *(f"rest -> {place} R@1, own" for place in "abcdef"))
    cells = Cell("clip + 0.3*gram"), *(Cell("136.4 ± 142.9", "~") for _ in range(6))
    wide = grid(cells, columns=names)
    for width, parts in ((60, 3), (80, 2), (100, 2), (160, 1)):
        text = to_text(to_rich(wide), width=width)
        # Never broken in two.
        assert text.count("136.4 ± 142.9~") == 6 and text.count("clip + 0.3*gram") == parts, width
        assert max(map(len, text.splitlines())) <= width
        assert text.startswith("Title\n") and text.endswith("\nwhat it means\n")


def test_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match=r"rows\[1\]: got 1 cell, expected one for each of the 3"):
        grid(SMALL.rows[0], (Cell("clip"),))
