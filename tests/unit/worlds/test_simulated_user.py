"""The simulated user tells what is asked for, and nothing else."""

import pytest

from toolorchestra.worlds.simulation.user import LOST, SimulatedUser, question_for
from toolorchestra.worlds.tasks import User

USER = SimulatedUser(
    User(
        persona="plain",
        opening="Cancel my trip.",
        known={
            "email": "ada@post.example",
            "day": "2026-03-04",
            "origin": "Netherby",
            "paid_to": "travel wallet",
            "new_label": "work",
        },
        unknown=("booking number",),
    )
)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("What is your e-mail address?", "ada@post.example"),
        ("On which date do you travel?", "2026-03-04"),
        ("Where do you start from?", "Netherby"),
        ("Where should the refund be paid?", "travel wallet"),
        ("Please tell me the new label.", "work"),
    ],
)
def test_what_is_known_is_told(question, said):
    assert said in USER.answer(question)


def test_nothing_else_is_told():
    assert "Netherby" not in USER.answer("What is your email?")
    assert "ada@" not in USER.answer("On which day?")


def test_what_is_not_known_is_said_to_be_unknown():
    assert USER.answer("What is the booking number?") == "I don't know the booking number."


def test_a_question_about_anything_else_is_not_understood():
    assert USER.answer("Do you like cheese?") == LOST


def test_every_known_name_has_a_question_that_gets_it():
    for name, value in {"email": "ada@post.example", "new_label": "work", "day": "2026-03-04"}.items():
        assert value in USER.answer(question_for(name))
