"""A Tool that is applied with kubectl is callable."""

import time

from tests.e2e.installation import Tenant, wait_until
from tests.e2e.resources import cascade, multiplier


def test_an_applied_tool_answers_a_question(tenant: Tenant, figures: list[str]) -> None:
    tenant.apply(cascade())
    with tenant.openai(retries=0) as client:
        question = {"role": "user", "content": "What is 123 * 457?"}

        def answer() -> str:
            response = client.chat.completions.create(model="cascade", messages=[question])  # type: ignore[list-item]
            text = response.choices[0].message.content or ""
            return text if "56211" in text else ""

        wait_until(lambda: client.models.retrieve("cascade"), what="the model name")
        began = time.monotonic()
        tenant.apply(multiplier())
        wait_until(answer, seconds=30, what="the tool's answer")
        took = time.monotonic() - began
    tenant.wait("tool/multiplier", "Ready")
    figures.append(f"apply → callable, a Tool whose server is a pod: {took:.2f} s, kubectl included")
    assert took < 15
