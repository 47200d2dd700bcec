"""``classes.txt``: the meaning of every form, and refusals that name the line."""

from __future__ import annotations

import pytest

from segmi.datasets.class_list import ClassList, class_list_of, read_classes
from segmi.errors import DataError


@pytest.mark.parametrize(
    ("text", "names", "ids", "ignored"),
    [
        ("cat\ndog\n", ("cat", "dog"), (0, 1), None),
        ("cat\ndog\nvoid\n", ("cat", "dog"), (0, 1), 2),
        ("ignored\ncat\ndog", ("cat", "dog"), (1, 2), 0),
        ("cat\nvoid\ndog", ("cat", "dog"), (0, 2), 1),
        ("cat\ndog\nvoid 255", ("cat", "dog"), (0, 1), 255),
        ("\ufeff# pets\n\n  big cat  \r\ndog 7\r\n", ("big cat", "dog 7"), (0, 1), None),
        ("0 null\n1 shirt\n2 big shoe\n", ("null", "shirt", "big shoe"), (0, 1, 2), None),
        ("0: void\n1: cat\n2: dog\n", ("cat", "dog"), (1, 2), 0),
        ("0,cat\n1,dog\n255,ignored", ("cat", "dog"), (0, 1), 255),
        ("7 up\ncat\n", ("7 up", "cat"), (0, 1), None),
        ("ignored space\nground", ("ignored space", "ground"), (0, 1), None),
    ],
)
def test_names_ids_and_ignored(tmp_path, text, names, ids, ignored):
    (tmp_path / "classes.txt").write_bytes(text.encode())
    read = read_classes(tmp_path / "classes.txt")
    assert (read.names, read.values, read.ignored, read.colors) == (names, ids, ignored, None)


def test_colors(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("back ground 0 0 0\nlesion 255 255 255\nvoid 255 1 2 3\n")
    read = read_classes(path)
    assert read == ClassList(("back ground", "lesion"), ((0, 0, 0), (255,) * 3), 255, (1, 2, 3), origin=str(path))
    assert read.color_values == ([(0, 0, 0), (255, 255, 255), (1, 2, 3)], [0, 1, 255])
    info = read.info("Lesions")
    assert info.palette[1] == (255, 255, 255)
    assert info.palette[255] == (1, 2, 3)


def test_the_lookup_skips_the_ignored_value():
    info = ClassList(("a", "b", "c"), ignored=1).info("X")
    assert info.lookup[:5] == (0, 255, 1, 2, -1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 1 to 255 classes, got 0"),
        ("\n".join(f"c{i}" for i in range(256)), "expected 1 to 255 classes, got 256"),
        ("a\nb\na", "expected distinct class names, got twice: a"),
        ("a 1 1 1\nb 1 1 1", "expected distinct colors, got twice: 1 1 1"),
        ("a 1 1 1\nvoid 1 1 1", "expected distinct colors"),
        ("a 1 1 1\nb", "expected a color for every class or for none, got 1 colors for 2 classes"),
        ("a\n1 2 3", "line 2: expected a class or ignored, got '1 2 3'"),
        ("a 300 0 0", "line 1: expected a class or ignored, got 'a 300 0 0'"),
        ("a\nvoid\nvoid", "line 3: expected a class or ignored"),
        ("1 cat\n2 dog", "expected values in their order from 0, got a line for 1 out of order"),
        ("0 cat\n2 dog", "expected values in their order from 0, got a line for 2 out of order"),
        ("a\nvoid 1 2", "line 2: expected a class or ignored"),
    ],
)
def test_refused_with_file_and_remedy(tmp_path, text, message):
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_classes(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "one class per line, `name` or `name r g b`" in str(caught.value)


def test_a_binary_file(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"classes.txt: expected a UTF-8 text file(.|\n)*save it as UTF-8"):
        read_classes(tmp_path / "classes.txt")


def test_options_override_the_file(tmp_path):
    (tmp_path / "classes.txt").write_text("a\nb\nvoid 9")
    assert class_list_of(tmp_path, None, None, 7, None).ignored == 7
    assert class_list_of(tmp_path, ["x"], None, None, None) == ClassList(("x",))
    chosen = class_list_of(tmp_path, ["x", "y"], [[0, 0, 0], [1, 1, 1]], None, [2, 2, 2])
    assert chosen == ClassList(("x", "y"), ((0, 0, 0), (1, 1, 1)), 255, (2, 2, 2))


@pytest.mark.parametrize("color", [[0, 0], [0, 0, 256], [0, 0, 0.5]])
def test_bad_color_options(tmp_path, color):
    with pytest.raises(DataError, match=r"expected a color of three numbers 0–255, got .*(.|\n)*\[r, g, b\]"):
        class_list_of(tmp_path, ["x"], [color], None, None)


def test_no_classes_at_all(tmp_path):
    with pytest.raises(
        DataError, match=r"classes.txt: expected the class names in this file or in the option `classes`"
    ):
        class_list_of(tmp_path, None, None, None, None)


@pytest.mark.parametrize("ignored", [-1, 256])
def test_ignored_out_of_range(tmp_path, ignored):
    with pytest.raises(DataError, match=f"expected ignored to be 0 to 255, got {ignored}"):
        class_list_of(tmp_path, ["x"], None, ignored, None)
