"""Tables as they are, and what is said of those that cannot be used."""

import json

import numpy as np
import pytest

from gramalign.media.columns import columns_of
from gramalign.media.table import read_table


@pytest.fixture
def write(tmp_path):
    def made(text, name="media.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return made


ROWS = [{"ids": 7, "words": 'a "cat",\n twice', "n": None}, {"ids": 8, "words": "ein Hündchen\t"}]


def test_all_kinds_hold_the_same(write):
    quoted = '"a ""cat"",\n twice"'
    tables = [
        write(f"\ufeffids,words,n\r\n7,{quoted},\r\n\r\n8,ein Hündchen\t,\r\n"),
        write(f'ids\twords\tn\n7\t{quoted}\t""\n8\t"ein Hündchen\t"\t\n', "media.tsv"),
        write("\n\n".join(map(json.dumps, ROWS)), "media.jsonl"),
    ]
    for table, lines in zip(map(read_table, tables), ([2, 5], [2, 4], [1, 3]), strict=True):
        assert table.cells("words") == ['a "cat",\n twice', "ein Hündchen\t"]
        assert table.cells("n") == [None, None]
        assert table.lines == lines
        ids = table.about_rows()["ids"]
        assert ids.dtype == np.int64 and ids.tolist() == [7, 8]
    digests = {read_table(path).digest for path in tables}
    assert len(digests) == 3


def test_spaces_after_a_delimiter_are_none_of_the_table(write):
    table = read_table(write('ids, labels , split\nx, "a, b", test\ny, c, train\n'))
    about = {name: values.tolist() for name, values in table.about_rows().items()}
    assert about == {"ids": ["x", "y"], "labels": ["a, b", "c"], "split": ["test", "train"]}


def test_a_line_of_jsonl_may_hold_what_else_ends_lines(write):
    table = read_table(write('{"words": "a\u2028b\x85", "n": "  "}\n', "media.jsonl"))
    assert table.cells("words") == ["a\u2028b\x85"] and table.cells("n") == [None]


def test_columns_about_rows_are_numbers_or_names(write):
    table = read_table(write("ids,labels,groups,split,x\n007,3,a,0,\n008,-1,a,2,\n"))
    about = table.about_rows()
    assert list(about) == ["ids", "labels", "split", "groups"]
    assert about["ids"].tolist() == ["007", "008"]
    assert about["labels"].tolist() == [3, -1]
    assert about["groups"].tolist() == ["a", "a"]
    assert about["split"].tolist() == [0, 2]
    large = read_table(write("ids\n12345678901234567890\n"))
    assert large.about_rows()["ids"].tolist() == ["12345678901234567890"]


@pytest.mark.parametrize(
    "text, name, message",
    [
        ("a\n1\n", "media.xlsx", "media.xlsx, expected a file that ends in .csv, .tsv, .jsonl"),
        ("", "media.csv", "media.csv has no rows, expected one per example"),
        ("a,b\n", "media.csv", "media.csv has no rows"),
        ("a,b\n1,2\n3\n", "media.csv", "line 3 has 1 cell, expected 2"),
        ("a;b\n1;2\n3;4, 5\n", "media.csv", "line 3 has 2 cells.*are divided by ',', not ';'"),
        ("a;b\tc\n1,2\n", "media.csv", "are divided by ',', not ';'"),
        ('a,b\n"1\n",2\n3,4,5\n', "media.csv", "line 4 has 3 cells, expected 2"),
        ('a,b\n1,"2\n3,4\n', "media.csv", r"line 2 cannot be read \(unexpected end of data\)"),
        ("a,a\n1,2\n", "media.csv", "several columns called 'a'"),
        (b"a\n1\n\xff\n", "media.csv", "line 3 is not UTF-8"),
        ('{"a": 1}\n{"a"\n', "media.jsonl", "line 2 is not JSON"),
        ('{"a": 1}\n' + "[" * 10**5, "media.jsonl", "line 2 is not JSON .*recursion"),
        ("[1]\n", "media.jsonl", r"line 1 is \[1\], expected an object"),
    ],
)
def test_tables_that_cannot_be_read(text, name, message, write):
    with pytest.raises(ValueError, match=message):
        read_table(write(text, name))


def test_cells_that_another_delimiter_divides(write):
    table = read_table(write("ids;photo\n1;a\n"))
    with pytest.raises(ValueError, match="one of 'ids;photo'; cells are divided by ',', not ';'"):
        table.cells("photo")


def test_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.csv, which is not a file"):
        read_table(tmp_path / "no.csv")


@pytest.mark.parametrize(
    "text, message",
    [
        ("ids\na\nb\na\n", "media.csv: ids: rows 0 and 2 are both 'a'"),
        ("split\ntrain\ndev\n", "media.csv: split: row 1 is 'dev', expected one of train"),
        ("labels,x\na,1\n,2\n", r"media.csv: row 1 \(line 3\): labels is empty: fill it in"),
    ],
)
def test_columns_about_rows_are_checked(text, message, write):
    with pytest.raises(ValueError, match=message):
        read_table(write(text)).about_rows()


@pytest.mark.parametrize(
    "value, message",
    [
        ([1], r"words is \[1\], expected text, a whole number, or null"),
        (True, "words is True, expected text"),
        (1.5, "words is 1.5, expected text"),
        ("\ud800", r"words is '\\ud800', no UTF-8"),
    ],
)
def test_cells_of_other_types(value, message, write):
    rows = [{"words": "a", "other": value}, {"words": value}]
    table = read_table(write("\n".join(map(json.dumps, rows)), "media.jsonl"))
    with pytest.raises(ValueError, match=rf"media.jsonl: row 1 \(line 2\): {message}"):
        columns_of(table, {"text": {"words": "bert"}})


def test_files_are_relative_to_the_table(write, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    other = tmp_path / "2.png"
    other.touch()
    table = read_table(write(f"photo,film\na/1.png,\n{other},a\n"))
    photo, film = columns_of(table, {"image": {"photo": "clip"}, "video": {"film": "clip"}})
    assert photo.inputs == [str(tmp_path / "a" / "1.png"), str(other)]
    assert photo.rows.tolist() == [0, 1]
    assert film.rows.tolist() == [1] and film.cells == ["a"]


def test_a_folder_is_no_image(write, tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match="photo is 'a', a file that does not exist: paths"):
        columns_of(read_table(write("photo\na\n")), {"image": {"photo": "clip"}})


@pytest.mark.parametrize(
    "columns, message",
    [
        ({}, "got no column to encode"),
        ({"text": {"no": "x"}}, "media.csv has no column 'no', expected one of 'ids', 'photo'"),
        ({"text": {"ids": "x"}}, "column 'ids' describes rows"),
        ({"text": {"none": "x"}}, "column 'none' is empty in every row: leave it out"),
        ({"text": {"photo": "x"}, "image": {"photo": "x"}}, "column 'photo' is given twice"),
        ({"text": {"a.b": "x"}}, "media.csv: column a.b: a modality's name cannot contain a dot"),
        ({"text": {"sound": "x"}}, r"row 1 \(line 3\) has none of sound \(2 such rows\): remove"),
        (
            {"image": {"photo": "x"}, "audio": {"sound": "x"}},
            r"row 0 \(line 2\): photo is 'a.png', a file that does not exist \(nor do 3 others\): "
            "paths are relative to /",
        ),
        ({"audio": {"photo": "x", "a.b": "x"}}, "cannot contain a dot"),
    ],
)
def test_columns_that_cannot_be_encoded(columns, message, write):
    table = read_table(write("ids,photo,sound,none,a.b\n1,a.png,b.wav,,x\n2,c.png,,,y\n3,d,,,z\n"))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        columns_of(table, columns)
