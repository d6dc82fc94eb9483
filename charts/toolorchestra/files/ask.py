"""Asks the platform one question as this pod's ServiceAccount; ends well only if the answer is right and has a price."""

import os
import sys
import time
from decimal import Decimal
from pathlib import Path

from openai import APIConnectionError, APIStatusError, OpenAI

TOKEN = Path("/var/run/secrets/toolorchestra/token")
PATIENCE_S = 120.0


def main() -> int:
    """Ask until the model is there, for a while."""
    deadline = time.monotonic() + PATIENCE_S
    client = OpenAI(base_url=os.environ["URL"], api_key=TOKEN.read_text(encoding="utf-8").strip(), timeout=60, max_retries=0)
    while True:
        try:
            return check(client)
        except (APIConnectionError, APIStatusError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"{error}")
            sys.stdout.write(f"not yet: {error}\n")
            time.sleep(3)


def check(client: OpenAI) -> int:
    """One question. Raises what the client raises."""
    question = {"role": "user", "content": os.environ["QUESTION"]}
    response = client.chat.completions.with_raw_response.create(model=os.environ["MODEL"], messages=[question])
    answer = response.parse().choices[0].message.content or ""
    price = response.headers.get("x-toolorchestra-cost-usd")
    sys.stdout.write(f"{os.environ['QUESTION']} {answer} (US$ {price})\n")
    if os.environ["ANSWER"] not in answer:
        sys.exit(f"the answer should contain {os.environ['ANSWER']}")
    if price is None or Decimal(price) < 0:
        sys.exit("the answer has no price")
    return 0


if __name__ == "__main__":
    sys.exit(main())
