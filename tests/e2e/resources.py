"""Manifests that several tests apply."""

from typing import Any, Final

from tests.e2e.installation import resource
from tests.e2e.peers import MANAGER, TOOLS, url_of

TEXT: Final = {"type": "string"}
PRICE: Final = {"input": "1", "output": "2"}  # what the counting provider charges


def parameters(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: TEXT}, "required": [name], "additionalProperties": False}


def multiplier(price: str = "0.001") -> dict[str, Any]:
    """A Tool whose server is a pod; the cascade gives it expressions."""
    return resource(
        "Tool",
        "multiplier",
        {
            "description": "Multiplies two whole numbers.",
            "capabilities": ["arithmetic"],
            "parameters": parameters("expression"),
            "http": {"url": f"{url_of(TOOLS)}/multiply"},
            "sideEffects": "readOnly",
            "pricing": {"perCall": price},
        },
    )


def noting(name: str, side_effects: str, **spec: Any) -> dict[str, Any]:
    """A Tool that takes its time, and whose server notes who came."""
    method = "GET" if side_effects == "readOnly" else "POST"
    http = {"method": method, "url": f"{url_of(TOOLS)}/{name}", "query": {"n": "{n}"}}
    body = {
        "description": f"The tool {name}.",
        "parameters": parameters("n"),
        "http": http,
        "sideEffects": side_effects,
        **spec,
    }
    return resource("Tool", name, body)


def expert(name: str, url: str, model: str, **spec: Any) -> dict[str, Any]:
    body = {
        "description": f"The expert {name}.",
        "model": model,
        "endpoint": {"baseUrl": f"{url}/v1"},
        "pricing": PRICE,
        **spec,
    }
    return resource("ExpertModel", name, body)


def scripted_manager() -> list[dict[str, Any]]:
    """A manager model that does what the question says."""
    policy = {"policy": {"expertModelRef": {"name": "scripted"}}, "limits": {"timeout": "180s"}}
    return [expert("scripted", url_of(MANAGER), "counting", contextTokens=32_768), resource("Orchestrator", "manager", policy)]


def cascade(name: str = "cascade") -> dict[str, Any]:
    return resource("Orchestrator", name, {"policy": {"baseline": "cascade"}})
