"""Models and tools that the caller may use."""

from typing import Any

from fastapi import APIRouter

from toolorchestra.orchestrator.handlers.context import Body, Caller, Parts

router = APIRouter(prefix="/v1")


@router.get("/models", summary="Models: orchestrators and experts, with prices and limits")
async def models(caller: Caller, factory: Parts) -> dict[str, Any]:
    return factory.catalogue().models(caller)


@router.get("/models/{name:path}", summary="One model")
async def model(name: str, caller: Caller, factory: Parts) -> dict[str, Any]:
    return factory.catalogue().model(caller, name)


@router.get("/tools", summary="Tools and experts with their state, and manifests with problems")
async def tools(caller: Caller, factory: Parts) -> dict[str, Any]:
    return factory.catalogue().tools(caller)


@router.post("/tools/check", summary="Probe all tools and experts of the caller now")
async def check(caller: Caller, factory: Parts) -> dict[str, Any]:
    await factory.discovery.check(caller.tenant)
    return factory.catalogue().tools(caller)


@router.post("/tools/{name}/call", summary="Call one function directly; metered like any other run")
async def call(name: str, body: Body, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.direct().call(caller, name, body)
