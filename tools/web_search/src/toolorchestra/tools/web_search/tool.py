"""Search on the web, as a plug-in."""

from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError, UnavailableError
from toolorchestra.core.plugins import PluginContext, PluginResult, Readiness
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.tools.web_search.tavily import BASE_URL, TavilyClient, WebResult

KEY_NAME: Final = "apiKey"  # under which the Tool hands the secret over
MAX_QUERY: Final = 400  # the service's own limit
DEFAULT_RESULTS: Final = 5
MAX_RESULTS: Final = 10
_TEXT_CHARACTERS: Final = 2_000
_TITLE_CHARACTERS: Final = 300
_MARGIN_MS: Final = 200  # left to tell of a timeout before the caller's own deadline
_SHORTEST_MS: Final = 100
_MISSING: Final = "the Tavily API key is missing; set TAVILY_API_KEY, or create the Secret `tavily` with the key `api-key`"


class WebSearchConfig(BaseModel):
    """Settings of the plug-in, under ``plugin.config``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(default=BASE_URL, max_length=2_048, description="A Tavily-compatible server. Default: Tavily's own.")
    allow_http: bool = Field(default=False, description="Allow a server without TLS, for tests and local ones. Default: false.")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        parts = urlsplit(self.base_url)
        if parts.scheme != "https" and not (self.allow_http and parts.scheme == "http"):
            raise ValueError("base_url must begin with https:// (or set allow_http: true for a local server)")
        if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url must be a plain address such as https://api.tavily.com")
        return self


class WebSearch:
    """Answers with pages of the web that fit a query."""

    def __init__(self, client: TavilyClient) -> None:
        self._client = client

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        """``{"query": …, "max_results": 5}`` → a list of ``{title, url, text, score}``, best first."""
        query, max_results = _query(arguments), _max_results(arguments)
        key = context.secrets.get(KEY_NAME)
        if not key:
            raise UnavailableError(_MISSING)
        timeout_s = max(context.timeout_ms - _MARGIN_MS, _SHORTEST_MS) / 1_000
        found = await self._client.search(query, max_results=max_results, key=key, timeout_s=timeout_s)
        return PluginResult([_as_json(result) for result in found[:max_results]], {"results": len(found)})

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        """Ready if there is a key. Nothing is sent: every request costs."""
        if not secrets.get(KEY_NAME):
            return Readiness(ready=False, reason="SecretMissing", message=_MISSING)
        return Readiness(ready=True)


def create(config: Mapping[str, Any]) -> WebSearch:
    """The entry point. Raises InvalidManifestError for settings that do not exist or an address without TLS."""
    try:
        settings = WebSearchConfig.model_validate(dict(config))
    except ValidationError as error:
        field = f"spec.plugin.config.{first_field(error)}"
        raise InvalidManifestError(f"spec.plugin.config: {describe(error)}", param=field) from error
    trust = httpx.create_ssl_context()
    return WebSearch(TavilyClient(settings.base_url, lambda: httpx.AsyncClient(verify=trust, trust_env=False)))


def _query(arguments: Mapping[str, Any]) -> str:
    query = arguments.get("query")
    if not isinstance(query, str) or not query.strip():
        raise InvalidArgumentsError(
            "query must be a non-empty string", param="query", hint='write "latest release of PostgreSQL"'
        )
    return query.strip()[:MAX_QUERY]


def _max_results(arguments: Mapping[str, Any]) -> int:
    number = arguments.get("max_results", DEFAULT_RESULTS)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_RESULTS:
        raise InvalidArgumentsError(f"max_results must be a whole number from 1 to {MAX_RESULTS}", param="max_results")
    return number


def _as_json(result: WebResult) -> JsonValue:
    return {
        "title": result.title[:_TITLE_CHARACTERS],
        "url": result.url,
        "text": result.text[:_TEXT_CHARACTERS],
        "score": round(result.score, 4),
    }
