"""The OpenAI chat completions wire format: what we accept, and what we answer with.

What is not supported is refused by name, never dropped silently. Our own extensions stand under one key, ``toolorchestra``,
in requests, responses and the last chunk of a stream; clients that do not know it ignore it.
"""

from http import HTTPStatus
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_snake

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.core.loop.facts import Sampling
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.sessions import SESSION_RULE, is_session

EXTENSION: Final = "toolorchestra"
MAX_MESSAGES: Final = 2_048
ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})


class Extension(BaseModel):
    """What a request may say beside the OpenAI fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preference: PreferenceSpec | None = None
    max_cost_usd: str | None = Field(default=None, pattern=r"^[0-9]+(\.[0-9]{1,9})?$")
    max_turns: int | None = Field(default=None, ge=1, le=50)
    timeout_seconds: float | None = Field(default=None, gt=0, le=3600)
    progress: bool = True  # what happens between question and answer, as ``reasoning_content`` deltas
    on_disconnect: Literal["cancel", "continue"] | None = None
    session: str | None = None  # travels with every call: to plug-ins, MCP servers, HTTP tools and models

    @field_validator("session")
    @classmethod
    def _session(cls, value: str | None) -> str | None:
        if value is not None and not is_session(value):
            raise ValueError(SESSION_RULE)
        return value

    @field_validator("preference", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return {"words": value} if isinstance(value, str) else value


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    include_usage: bool = False


class ChatCompletionRequest(BaseModel):
    """The body of ``POST /v1/chat/completions``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, max_length=256)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] = Field(default_factory=list, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    response_format: dict[str, Any] | None = None
    n: Literal[1] | None = None
    user: str | None = Field(default=None, max_length=256)
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    toolorchestra: Extension = Extension()

    @field_validator("messages")
    @classmethod
    def _known_roles(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for place, message in enumerate(messages):
            problem = _message_problem(message)
            if problem is not None:
                raise ValueError(f"messages.{place}.{problem}")
        return messages

    @field_validator("tools")
    @classmethod
    def _functions(cls, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for place, tool in enumerate(tools):
            function = tool.get("function")
            if tool.get("type") != "function" or not isinstance(function, dict) or not _is_name(function.get("name")):
                raise ValueError(f"tools.{place} must be of type function and have function.name, as text")
        return tools

    @property
    def output_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def sampling(self) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=stop,
            response_format=self.response_format,
        )


def parse_request(body: Any) -> ChatCompletionRequest:
    """A decoded JSON body as a request. Raises InvalidRequestError that names the field."""
    if not isinstance(body, dict):
        raise InvalidRequestError("the body must be a JSON object", hint="see the OpenAI chat completions API")
    try:
        return ChatCompletionRequest.model_validate(_snake_extension(body))
    except ValidationError as error:
        raise InvalidRequestError(_explain(error), param=first_field(error)) from error


def error_body(error: ToolOrchestraError) -> dict[str, Any]:
    """The OpenAI error object."""
    kind = "server_error" if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    kind = "insufficient_quota" if error.code in ("insufficient_quota", "unknown_price") else kind
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


def usage_body(usage: Usage) -> dict[str, Any]:
    """The OpenAI usage object."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


class Completion:
    """Builds the response of one run: whole, or chunk by chunk with one id, time and model."""

    def __init__(self, run_id: str, model: str, created: int) -> None:
        self._base = {"id": f"chatcmpl-{run_id}", "created": created, "model": model, "system_fingerprint": None}

    def whole(
        self,
        *,
        content: str | None,
        finish_reason: str,
        usage: Usage,
        extension: dict[str, Any],
        tool_calls: list[dict[str, Any]] | None = None,
        reasoning: str = "",
    ) -> dict[str, Any]:
        """The body of a response that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if tool_calls:
            message["tool_calls"] = tool_calls
        if reasoning:
            message["reasoning_content"] = reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        return {
            **self._base,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_body(usage),
            EXTENSION: extension,
        }

    def first(self) -> dict[str, Any]:
        """The chunk that carries the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def content(self, text: str) -> dict[str, Any]:
        return self._chunk({"content": text})

    def reasoning(self, text: str) -> dict[str, Any]:
        """Progress: ignored by clients that do not know it."""
        return self._chunk({"reasoning_content": text})

    def tool_calls(self, calls: list[dict[str, Any]]) -> dict[str, Any]:
        return self._chunk({"tool_calls": [{"index": n, **call} for n, call in enumerate(calls)]})

    def finish(self, reason: str, extension: dict[str, Any]) -> dict[str, Any]:
        """The last chunk with a choice."""
        return self._chunk({}, finish_reason=reason) | {EXTENSION: extension}

    def usage(self, usage: Usage, extension: dict[str, Any]) -> dict[str, Any]:
        """The chunk after the last, if the client asked for usage."""
        body = {**self._base, "object": "chat.completion.chunk", "choices": []}
        return body | {"usage": usage_body(usage), EXTENSION: extension}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._base, "object": "chat.completion.chunk", "choices": [choice]}


def _message_problem(message: dict[str, Any]) -> str | None:
    """What is wrong with a message, beginning with the field; None if nothing is."""
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        return f"role must be one of {', '.join(sorted(ROLES))}"
    parts = isinstance(content, list) and all(isinstance(part, dict) for part in content)
    if not (content is None or isinstance(content, str) or parts):
        return "content must be text, or a list of parts that are objects"
    if role in ("user", "system", "developer") and not content:
        return "content is required and must not be empty"
    if role == "tool" and not _is_name(message.get("tool_call_id")):
        return "tool_call_id is required, as text"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        return f"the parameter {first_field(error)!r} is not supported"
    return describe(error)


def _snake_extension(body: dict[str, Any]) -> dict[str, Any]:
    extension = body.get(EXTENSION)
    if not isinstance(extension, dict):
        return body
    return body | {EXTENSION: {to_snake(key): value for key, value in extension.items()}}
