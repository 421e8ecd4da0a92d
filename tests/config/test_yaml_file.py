from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcast.config.yaml_file import MAX_CHARACTERS, MAX_DEPTH, YamlError, parse, parse_scalar

# what a double-quoted JSON string holds unchanged when it is read as YAML
words = st.text(st.characters(exclude_categories=("C", "Z")), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)


def refusal(text: str) -> YamlError | None:
    try:
        parse(text)
    except YamlError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("12", 12),
        ("-0", 0),
        ("+7", 7),
        ("007", 7),
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        # text, though PyYAML's own rules make booleans, numbers and dates of some
        *((text, text) for text in ("no", "yes", "on", "Off", "y", "nULL", "tRUE")),
        *((text, text) for text in ("1_000", "12:30", "0b1", "1e", "e3", ".", "-", "+.", "--1", "1 2", "１２", "٣")),
        *((text, text) for text in ("2001-01-01", "2001-99-99", "inf", "nan", "1e99999", "@")),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    read = parse_scalar(text)
    assert read == value
    assert type(read) is type(value)


def test_nan() -> None:
    assert math.isnan(parse_scalar(".NaN"))


@settings(deadline=None, max_examples=50)
@given(st.integers(-(10**39), 10**39) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(number: float) -> None:
    assert repr(parse_scalar(repr(number))) == repr(number)


def test_an_integer_of_5000_digits_is_read_and_is_no_integer() -> None:
    # Python's int() refuses it, and with it PyYAML
    assert parse("a: " + "9" * 5000).value == {"a": math.inf}


@pytest.mark.parametrize("text", ['"1"', "'true'", '"null"', "'~'", '"1e-3"', "'no'"])
def test_what_is_quoted_is_text(text: str) -> None:
    assert parse(text).value == text[1:-1]


@settings(deadline=None, max_examples=60)
@given(trees)
def test_json_is_yaml(tree: Any) -> None:
    assert parse(json.dumps(tree, ensure_ascii=False)).value == tree


def test_keys_are_text() -> None:
    assert parse("1: a\nnull: b\ntrue: c\n<<: {d: e}").value == {"1": "a", "null": "b", "true": "c", "<<": {"d": "e"}}


def test_the_line_of_each_key_and_item() -> None:
    text = "# comment\na: 1\n\nb:\n  c: [1,\n      2]\n  d:\n  - x\n  - e: y\n    f: |\n      z\ng: {h: 1,\n i: 2}\n"
    assert parse(text).lines == {
        ("a",): 2,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "c", 0): 5,
        ("b", "c", 1): 6,
        ("b", "d"): 7,
        ("b", "d", 0): 8,
        ("b", "d", 1): 9,
        ("b", "d", 1, "e"): 9,
        ("b", "d", 1, "f"): 10,
        ("g",): 12,
        ("g", "h"): 12,
        ("g", "i"): 13,
    }


BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' stands twice"),
        ("a: 1\n'a': 2\n", 2, "'a' stands twice"),
        ("b:\n  a: 1\n  a: 1\n", 3, "'a' stands twice"),
        ("b: [{c: 1, c: 1}]", 1, "'c' stands twice"),
        ("a: 1\nb: &x 2\n", 2, "anchors"),
        ("&x a: 1", 1, "anchors"),
        ("\n- *x\n", 2, "aliases"),
        ("*x : 1", 1, "aliases"),
        ("x: {a: 1}\n<<: *x\n", 2, "aliases"),
        (BOMB, 1, "anchors"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tags"),
        ("a: 1\nb: !!int '3'\n", 2, "tags"),
        ("a: !mine {}", 1, "tags"),
        ("!!str a: 1", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: 1\n...\n---\n", 3, "second document"),
        ("[a]: 1", 1, "a key must be a word"),
        ("? {a: 1}\n: 2\n", 1, "a key must be a word"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: 'x\n", 2, "not YAML"),
        ("a: b: c", 1, "not YAML"),
        ("a: 1\n b: 2\n", 2, "not YAML"),
        ("a: 1\nb: @x\n", 2, "not YAML"),
        ("%YAML 2.0\n---\na: 1\n", 1, "not YAML"),
        ("a: \x07\n", 1, "not YAML"),
        ("a: 1\nb: \x07\n", 2, "not YAML"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', 2, "not YAML"),
        ('a: "\\U00110000"', 1, "not YAML"),
        ('a: 1\nb: "x\\0"\n', 2, "null character"),
        ('"\\uD800": 1', 1, "surrogate"),
        ("x" * 500 + ": 1\n" + "x" * 500 + ": 1\n", 2, "stands twice"),
        (f"%YAML 1.{'9' * 5000}\n---\na: 1\n", 1, "not YAML"),
    ],
)
def test_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(text)
    assert words in caught.value.message
    assert len(caught.value.message) < 200
    assert caught.value.line == line


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_nesting_is_bounded(opening: str) -> None:
    closing = {"[": "]", "- ": "", "{a: ": "}"}[opening]
    parse(opening * MAX_DEPTH + closing * MAX_DEPTH)
    with pytest.raises(YamlError, match="nested deeper"):
        parse(opening * (MAX_DEPTH + 1) + closing * (MAX_DEPTH + 1))


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{a: ", "[{a: ", "'", '"\\', "# \n", " ", "\n"])
def test_a_hundred_thousand_openings_are_read_or_refused_quickly(opening: str, within_a_second: Any) -> None:
    with within_a_second():
        error = refusal(("x: " + opening * 100_000)[:MAX_CHARACTERS])
    assert error is None or len(error.message) < 200


@pytest.mark.parametrize("item", ["1,", "{},", "[],"])
def test_the_largest_file_is_read_quickly(item: str, within_a_second: Any) -> None:
    with within_a_second():
        parse("a: [" + item * ((MAX_CHARACTERS - 10) // len(item)) + "]")


def test_a_longer_file_is_not_read() -> None:
    parse("#" * MAX_CHARACTERS)
    with pytest.raises(YamlError, match="characters; at most"):
        parse("#" * (MAX_CHARACTERS + 1))


@settings(deadline=None, max_examples=150)
@given(
    st.text(st.sampled_from("[]{}:,-?&*!|>'\"%@\\#~<. \t\n\r\x00\x85\ufeffabxuU019e") | st.characters(), max_size=30)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    error = refusal(text)
    assert error is None or 1 <= error.line <= 1 + len(text)
