"""Patterns match what Redis's own matching matches (src/util.c, stringmatchlen)."""

import pytest

from seqcache._glob import compile_glob


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*", ["", "a", "a\nb", b"\xff"], []),
        ("a?c", ["abc", "a\nc"], ["ac", "abbc"]),
        ("a*c", ["ac", "abbbc"], ["ab"]),
        ("[abc]", ["a", "c"], ["d", "ab", ""]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[c-a]", ["b"], ["d"]),
        ("[^a]", ["b", b"\xff"], ["a", ""]),
        ("[!a]", ["!", "a"], ["b"]),
        (r"[\]a]", ["]", "a"], ["\\"]),
        ("[a", ["a"], ["[a", "b"]),
        ("[]", [], ["", "]", "a"]),
        ("[^]", ["a"], [""]),
        ("[a-]", ["a", "]", "_"], ["-", "b"]),
        (r"\*", ["*"], ["a", r"\*"]),
        ("\\", ["\\"], [""]),
        (r"a\bc", ["abc"], [r"a\bc"]),
        ("a.c", ["a.c"], ["abc"]),
        (b"\xff?", [b"\xffa"], [b"\xfea"]),
    ],
)
def test_matches_like_redis(pattern, matching, other):
    matches = compile_glob(pattern).fullmatch
    for text in matching:
        assert matches(text if isinstance(text, bytes) else text.encode()), text
    for text in other:
        assert not matches(text if isinstance(text, bytes) else text.encode()), text
