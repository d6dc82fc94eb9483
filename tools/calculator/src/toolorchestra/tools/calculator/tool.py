"""The calculator as a plug-in."""

from collections.abc import Mapping
from typing import Any

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.plugins import PluginContext, PluginResult, Readiness
from toolorchestra.tools.calculator.formatting import format_value
from toolorchestra.tools.calculator.parser import compute


class Calculator:
    """Computes one arithmetic expression; pure, and bounded to a few milliseconds."""

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        """``{"expression": "15% of 80"}`` → ``"12"``."""
        del context  # needs neither time nor secrets
        expression = arguments.get("expression")
        if not isinstance(expression, str):
            raise InvalidArgumentsError("expression must be a string", param="expression", hint='write "17 * 23"')
        value = compute(expression)
        number = value.number
        exact = f"{number.numerator}/{number.denominator}" if value.exact and number.denominator != 1 else None
        return PluginResult(format_value(value), {"exact": value.exact} | ({"fraction": exact[:200]} if exact else {}))

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        del secrets
        return Readiness(ready=True)


def create(config: Mapping[str, Any]) -> Calculator:
    """The entry point; the calculator has no settings."""
    if config:
        raise InvalidManifestError(f"calculator has no setting {min(config)!r}", param="spec.plugin.config", hint="remove it")
    return Calculator()
