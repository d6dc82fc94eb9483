from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.tokens import MEDIA_TOKENS, input_bound_tokens, prompt_bound_tokens, text_bound_tokens

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


@given(st.lists(st.text()))
def test_the_bound_covers_every_byte_of_every_message(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    assert input_bound_tokens(messages) >= sum(len(text.encode()) for text in texts)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_the_bound_grows_with_each_message(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    assert input_bound_tokens(messages) > input_bound_tokens(messages[:-1])


def test_tools_tool_calls_and_parts_count() -> None:
    plain = [{"role": "user", "content": "x"}]
    assert input_bound_tokens(plain, [TOOL]) > input_bound_tokens(plain) + len(str(TOOL))
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    assert input_bound_tokens([call]) > input_bound_tokens([{"role": "assistant", "content": None}]) + 20
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    parts = [{"role": "user", "content": [{"type": "text", "text": "what is this"}, image]}]
    assert MEDIA_TOKENS < input_bound_tokens(parts) < MEDIA_TOKENS + 200


def test_token_ids_are_counted_exactly_and_text_by_bytes() -> None:
    assert prompt_bound_tokens([1, 2, 3]) == 3
    assert prompt_bound_tokens("äb") >= 3
    assert text_bound_tokens("ä\ud800") == 5
