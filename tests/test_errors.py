"""What an error says, in one line, of what would have been right."""

from __future__ import annotations

from wsikit.errors import UsageError, few, nearest

MANY = [f"Mass-Training_P_{n:05d}_LEFT_CC_1" for n in range(400)]


def test_a_close_word_is_offered_and_of_a_few_all_are() -> None:
    assert nearest("abmli", ["abmil", "clam_sb"]) == "did you mean 'abmil'?"
    assert nearest("zzz", ["b", "a"]) == "use one of: a, b"
    assert nearest("max", ["max_pooling", "softmax"]) == "did you mean 'max_pooling'?"
    assert nearest("Mass-Training_P_00399_LEFT_CC", MANY) == (
        "did you mean 'Mass-Training_P_00399_LEFT_CC_1'?"
    )


def test_of_many_three_are_named_and_their_number_is_said() -> None:
    for wrong in ("zzz", ""):
        words = nearest(wrong, MANY)
        assert words.startswith("the nearest of 400 are: Mass-Training_P_")
        assert words.count(", ") == 2
    # A part of an id is enough, such as a patient's number.
    assert nearest("00123", MANY) == "the nearest of 400 are: Mass-Training_P_00123_LEFT_CC_1"


def test_a_message_is_one_line_whatever_a_file_is_called() -> None:
    error = UsageError("a\nb\x1b[2J: is not\tthere", "look\nagain")
    assert str(error) == "a b?[2J: is not there: look again"


def test_the_first_few_are_named_and_the_others_counted() -> None:
    assert few(["a", "b", "c"]) == "a, b, c"
    assert few(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert few(["a", "b", "c"], 1, "; ") == "a; and 2 more"
