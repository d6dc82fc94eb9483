"""Administration of a tenant: keys, usage, budget, adjustments."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from toolorchestra.orchestrator.handlers.context import Body, Parts, may

ListKeys = Annotated[str, may("list", "keys")]
CreateKey = Annotated[str, may("create", "keys")]
DeleteKey = Annotated[str, may("delete", "keys")]
GetUsage = Annotated[str, may("get", "usage")]
GetBudget = Annotated[str, may("get", "budgets")]
Adjust = Annotated[str, may("create", "adjustments")]

router = APIRouter(prefix="/admin/v1/tenants/{tenant}")


@router.get("/keys", summary="Keys of the tenant, without their secrets")
async def keys(tenant: str, _: ListKeys, factory: Parts) -> dict[str, Any]:
    return await factory.admin().keys(tenant)


@router.post("/keys", summary="A new key; its secret is shown once")
async def create_key(tenant: str, body: Body, _: CreateKey, factory: Parts) -> JSONResponse:
    return JSONResponse(await factory.admin().create_key(tenant, body), status_code=201)


@router.delete("/keys/{key}", summary="Revoke a key")
async def revoke_key(tenant: str, key: str, _: DeleteKey, factory: Parts) -> dict[str, Any]:
    return await factory.admin().revoke_key(tenant, key)


@router.get("/usage", summary="What was spent, grouped")
async def usage(
    tenant: str,
    _: GetUsage,
    factory: Parts,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    group_by: Annotated[list[str] | None, Query()] = None,
    output: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    admin = factory.admin()
    if output == "csv":
        return PlainTextResponse(await admin.focus_csv(tenant, since, until), media_type="text/csv")
    return JSONResponse(await admin.usage(tenant, since, until, group_by or []))


@router.get("/budget", summary="Limits, spent, held and left in every open window")
async def budget(tenant: str, _: GetBudget, factory: Parts) -> dict[str, Any]:
    return await factory.admin().budget(tenant)


@router.post("/adjustments", summary="A credit or a correction, with a reason")
async def adjust(tenant: str, body: Body, author: Adjust, factory: Parts) -> JSONResponse:
    return JSONResponse(await factory.admin().adjust(tenant, body, author), status_code=201)
