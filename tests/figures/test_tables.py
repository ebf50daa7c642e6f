"""CSV files: whole, with empty cells for what has no value, and whatever a file name holds."""

import math

import numpy as np

from detkit.figures.tables import numbers, read_table, write_table


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "new" / "table.csv"
    odd = ["a, b", 'two\nlines "quoted"', "猫", b"\xff.jpg".decode("utf-8", "surrogateescape")]
    write_table(file, ("name", "value"), [(name, value) for name, value in zip(odd, (1, 0.5, math.nan, 1 / 3), strict=True)])
    header, rows = read_table(file)
    assert header == ["name", "value"] and [row[0] for row in rows] == odd
    assert [row[1] for row in rows] == ["1", "0.5", "", "0.333333"]
    assert np.array_equal(numbers(row[1] for row in rows), [1, 0.5, math.nan, 0.333333], equal_nan=True)
    assert [path.name for path in file.parent.iterdir()] == ["table.csv"]


def test_no_file_is_no_rows(tmp_path):
    assert read_table(tmp_path / "none.csv") == ([], [])
