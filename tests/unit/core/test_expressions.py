"""Which questions are arithmetic, and which only look like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.policies.expressions import extract_expression


@pytest.mark.parametrize(
    ("question", "expression"),
    [
        ("What is 17 * 23?", "17 * 23"),
        ("What's 2+2", "2+2"),
        ("2 + 2 = ?", "2 + 2"),
        ("17*23", "17*23"),
        ("calculate 15% of 80", "15% of 80"),
        ("What is 15 percent of 80?", "15 % of 80"),
        ("What is 20% of 50 plus 10% of 30?", "20% of 50 + 10% of 30"),
        ("80 + 15%", "80 + 15%"),
        ("how much is (3+4)/2 ?", "(3+4)/2"),
        ("Evaluate: (1+2)*(3+4)", "(1+2)*(3+4)"),
        ("What is 3(4+5)?", "3(4+5)"),
        ("square root of 144", "sqrt(144)"),
        ("What is the square root of the square root of 16?", "sqrt(sqrt(16))"),
        ("cube root of 27", "cbrt(27)"),
        ("what is 1,200 * 3?", "1200 * 3"),
        ("how much is $1,299 * 15%?", "1299 * 15%"),
        ("12 x 12", "12 * 12"),
        ("what is 3 × 4 ?", "3 * 4"),
        ("What is 100 minus 37 times 2?", "100 - 37 * 2"),
        ("What is 10 divided by 4?", "10 / 4"),
        ("what is 2 to the power of 10?", "2 ** 10"),
        ("5 squared", "5 **2"),
        ("what is 5 factorial?", "5!"),
        ("factorial of 5", "factorial(5)"),
        ("what is the sum of 3, 4 and 5?", "sum(3, 4, 5)"),
        ("sum of 1,200 and 300", "sum(1200, 300)"),
        ("Compute the average of 4, 8 and 12.", "avg(4, 8, 12)"),
        ("difference between 10 and 4", "10 - 4"),
        ("remainder of 17 divided by 5", "17 mod 5"),
        ("What is sine of 30 degrees?", "sin(30 deg)"),
        ("what is 2 * pi", "2 * pi"),
        ("what is -5 + 3", "-5 + 3"),
        ("half of 30", "0.5 * 30"),
        ("Could you please calculate 3^4, please?", "3^4"),
        ("calculate 9/11", "9/11"),
        ("What is 2024 - 1999?", "2024 - 1999"),
        ("what is 5 % 3", "5 % 3"),
    ],
)
def test_an_expression_in_words_or_signs_is_found(question: str, expression: str) -> None:
    assert extract_expression(question) == expression


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is the capital of France?",
        "What is pi?",
        "What is 42?",
        "-5",
        "What is 5%?",
        "What is 24/7?",
        "What is 9/11?",
        "What happened 1914-1918?",
        "2020-2021",
        "What is 2024-05-01?",
        "1/2/2024",
        "555-1234",
        "call me at 555 1234",
        "Who wrote 1984?",
        "what is the 5th planet",
        "H2O",
        "version 1.2.3",
        "what is 192.168.0.1",
        "what is C++ 17",
        "1 2 3",
        "3, 4",
        "sort 3, 1, 2",
        "If I have 3 apples and eat 2, how many are left?",
        "How many days are in 3 weeks?",
        "what is 5 apples + 3 apples",
        "what is 10% of 50 and why?",
        "2+2 is 4, right?",
        "Explain 2+2 to a child",
        "write code to compute 2+2",
        "What is 1+1 in binary?",
        "Convert 10 km to miles",
        "x + 3",
        "solve x + 3 = 5",
        "What is 3 plus?",
        "(1+2",
        "1+2)",
        "what is 12,5 + 3",
        "how much is 20% off 50?",
        "Is 17 prime?",
        "1+" * 300 + "1",
    ],
)
def test_prose_dates_and_word_problems_are_left_alone(question: str) -> None:
    assert extract_expression(question) is None


@given(st.text(alphabet="0123456789+-*/%^!()., abcdefghijklmnopqrstuvwxyz?√π$", max_size=80))
def test_any_text_gets_an_answer_and_what_is_found_is_found_again(text: str) -> None:
    found = extract_expression(text)
    if found is not None:
        assert any(character.isdigit() for character in found)
        assert extract_expression(f"calculate {found}") is not None
