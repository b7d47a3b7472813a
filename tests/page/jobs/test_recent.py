"""What was made last for a few owners."""

from __future__ import annotations

import gc

from page.jobs.recent import Recent


class Owner:
    """Somebody to make things for."""


def counted(recent: Recent[Owner, list[int]], owner: Owner, made: list[Owner]) -> list[int]:
    def make() -> list[int]:
        made.append(owner)
        return [len(made)]
    return recent.get(owner, make)


def test_what_was_made_is_given_again() -> None:
    recent, owner, made = Recent[Owner, list[int]](2), Owner(), list[Owner]()
    assert counted(recent, owner, made) is counted(recent, owner, made)
    assert made == [owner]


def test_who_asked_longest_ago_goes_first() -> None:
    recent, made = Recent[Owner, list[int]](2), list[Owner]()
    a, b, c = Owner(), Owner(), Owner()
    for owner in (a, b, a, c, a):  # b asked longest ago when c came.
        counted(recent, owner, made)
    assert made == [a, b, c]
    counted(recent, b, made)
    assert made == [a, b, c, b]


def test_it_goes_with_its_owner() -> None:
    recent, owner = Recent[Owner, list[int]](2), Owner()
    recent.get(owner, lambda: [1])
    assert len(recent._made) == 1
    del owner
    gc.collect()
    assert len(recent._made) == 0
