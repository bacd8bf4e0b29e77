from __future__ import annotations

from collections import Counter

from worker.engine.turns import Turns


def got(turns: Turns[str], flows: str, rounds: int, seconds: float = 1.0) -> Counter[str]:
    """What each flow gets in so many turns of the same length."""
    found = Counter[str]()
    for _ in range(rounds):
        flow = turns.next(flows)
        turns.charge(flow, seconds)
        found[flow] += 1
    return found


def test_flows_get_the_same() -> None:
    assert got(Turns[str](), "abc", 30) == {"a": 10, "b": 10, "c": 10}


def test_what_counts_is_the_time_and_not_the_turns() -> None:
    turns, spent = Turns[str](), Counter[str]()
    for _ in range(100):
        flow = turns.next("ab")
        seconds = 4.0 if flow == "a" else 1.0
        turns.charge(flow, seconds)
        spent[flow] += int(seconds)
    assert abs(spent["a"] - spent["b"]) <= 4


def test_shares_are_kept() -> None:
    turns = Turns[str](share=lambda flow: 0.2 if flow == "b" else 0.8)
    assert got(turns, "ab", 100) == {"a": 80, "b": 20}


def test_a_flow_that_comes_late_has_saved_up_nothing() -> None:
    turns = Turns[str]()
    got(turns, "a", 100)
    assert got(turns, "ab", 10) == {"a": 5, "b": 5}


def test_nor_has_one_that_goes_and_comes_again() -> None:
    turns = Turns[str]()
    for _ in range(20):
        got(turns, "ab", 2)
        got(turns, "b", 1)
    assert abs(got(turns, "ab", 10)["a"] - 5) <= 1


def test_credit_lets_a_newcomer_go_first_for_so_long() -> None:
    turns = Turns[str](share=lambda flow: 0.2 if flow == "b" else 0.8, credit=lambda flow: 10 if flow == "a" else 0)
    got(turns, "b", 50)
    assert got(turns, "ab", 10) == {"a": 10}
    assert got(turns, "ab", 100)["b"] in range(18, 22)


def test_credit_that_was_used_is_not_had_again_at_once() -> None:
    turns = Turns[str](credit=lambda flow: 10 if flow == "a" else 0)
    got(turns, "b", 50)
    got(turns, "ab", 10)
    got(turns, "b", 1)
    assert got(turns, "ab", 10)["a"] <= 6


def test_after_all_is_forgotten_who_comes_has_its_credit_again() -> None:
    turns = Turns[str](credit=lambda flow: 5.0 if flow == "a" else 0.0)
    got(turns, "a", 100)
    assert got(turns, "ba", 1) == {"b": 1}
    turns.forget()
    turns.charge("a", 0.5)  # what was under way
    assert got(turns, "ba", 5) == {"a": 5}
