"""Names of spans' attributes, in one versioned table.

The GenAI conventions are still in development and move; Python packages ship names that upstream has renamed. So nothing
else in the platform spells an attribute. What no convention covers, cost above all, stands under our own prefix.

Spans are written with the names of GenAI. Where OpenInference is wanted instead, ``dialects`` translates finished spans by the
second half of this table.
"""

from collections.abc import Mapping
from typing import Final

# https://github.com/open-telemetry/semantic-conventions-genai
GEN_AI_VERSION: Final = "1.42"

# Operations: the value of OPERATION_NAME and the first word of the span's name.
OPERATION_CHAT: Final = "chat"
OPERATION_TEXT_COMPLETION: Final = "text_completion"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"
OPERATION_INVOKE_WORKFLOW: Final = "invoke_workflow"
OPERATION_INVOKE_AGENT: Final = "invoke_agent"

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
AGENT_NAME: Final = "gen_ai.agent.name"

REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"

USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"

MCP_METHOD_NAME: Final = "mcp.method.name"
MCP_PROTOCOL_VERSION: Final = "mcp.protocol.version"

ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
USER_ID: Final = "user.id"

# Ours.
COST_NANO_USD: Final = "toolorchestra.cost.nano_usd"
COST_ESTIMATED: Final = "toolorchestra.cost.estimated"
RUN_ID: Final = "toolorchestra.run.id"
TENANT: Final = "toolorchestra.tenant"
TURN: Final = "toolorchestra.turn"
CALL_ATTEMPT: Final = "toolorchestra.call.attempt"
CALL_STATUS: Final = "toolorchestra.call.status"
CALL_SENT: Final = "toolorchestra.call.sent"
CALL_TRUNCATED: Final = "toolorchestra.call.truncated"
CALL_QUEUED_MS: Final = "toolorchestra.call.queued_ms"
SIMULATED: Final = "toolorchestra.simulated"

# Values of TOOL_TYPE.
TOOL_TYPE_FUNCTION: Final = "function"
TOOL_TYPE_EXTENSION: Final = "extension"

# https://arize-ai.github.io/openinference/spec/attributes/semantic-conventions.html; the version is that of the Python package.
OPENINFERENCE_VERSION: Final = "0.1.46"

OI_SPAN_KIND: Final = "openinference.span.kind"
OI_KINDS: Final[Mapping[str, str]] = {  # by operation
    OPERATION_CHAT: "LLM",
    OPERATION_TEXT_COMPLETION: "LLM",
    OPERATION_EXECUTE_TOOL: "TOOL",
    OPERATION_INVOKE_AGENT: "AGENT",
    OPERATION_INVOKE_WORKFLOW: "CHAIN",
}
OI_OTHER_KIND: Final = "CHAIN"
OI_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    PROVIDER_NAME: ("llm.system", "llm.provider"),
    REQUEST_MODEL: ("llm.model_name", "llm.request.model_name"),
    RESPONSE_MODEL: ("llm.model_name", "llm.response.model_name"),  # after the requested one, which it replaces
    USAGE_INPUT_TOKENS: ("llm.token_count.prompt",),
    USAGE_OUTPUT_TOKENS: ("llm.token_count.completion",),
    USAGE_CACHE_READ_INPUT_TOKENS: ("llm.token_count.prompt_details.cache_read",),
    USAGE_REASONING_OUTPUT_TOKENS: ("llm.token_count.completion_details.reasoning",),
    TOOL_NAME: ("tool.name",),
    TOOL_CALL_ID: ("tool.id",),
    AGENT_NAME: ("agent.name",),
    CONVERSATION_ID: ("session.id",),
    USER_ID: ("user.id",),
}
OI_PARAMETERS: Final[Mapping[str, str]] = {  # members of the JSON text that holds a request's parameters
    REQUEST_MAX_TOKENS: "max_tokens",
    REQUEST_TEMPERATURE: "temperature",
    REQUEST_SEED: "seed",
    REQUEST_STREAM: "stream",
}
OI_INVOCATION_PARAMETERS: Final = "llm.invocation_parameters"
OI_TOKENS_TOTAL: Final = "llm.token_count.total"
OI_COST_TOTAL: Final = "llm.cost.total"  # US dollars
