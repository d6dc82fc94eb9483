"""What counts as near a limit."""

import pytest

from toolorchestra.ledger.money import Unit
from toolorchestra.ledger.policies import WindowBudget, reached, used_percent


def window(limit: int | None, spent: int = 0, held: int = 0, unit: Unit = Unit.MONEY) -> WindowBudget:
    return WindowBudget(unit, "day", "UTC", limit, spent, held, 0, None, None, None)


@pytest.mark.parametrize(
    ("spent", "held", "expected"),
    [
        (0, 0, ()),
        (49, 0, ()),
        (50, 0, (50,)),
        (0, 79, (50,)),
        (79, 1, (50, 80)),
        (100, 0, (50, 80, 100)),
        (250, 0, (50, 80, 100)),
    ],
)
def test_a_percentage_is_reached_by_what_is_spent_or_held(spent, held, expected):
    assert reached(window(100, spent, held), [100, 80, 50, 80, 300]) == expected


def test_a_limit_of_nothing_is_always_reached():
    assert reached(window(0), [80, 100, 101]) == (80, 100)


@pytest.mark.parametrize("one", [window(None, 5), window(4, 4, unit=Unit.SLOTS)])
def test_where_nothing_can_be_used_up_nothing_is_reached(one):
    assert (used_percent(one), reached(one, [1])) == (None, ())
