import base64

import pytest

from toolorchestra.core.errors import InvalidManifestError, NotFoundError
from toolorchestra.kit.secrets import ChainedSecrets, EnvironmentSecrets, ManifestSecrets, variable_for


def manifest(name: str = "openai", namespace: str | None = None, **fields: object) -> dict[str, object]:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **fields}


@pytest.mark.parametrize(
    ("name", "key", "variable"),
    [("openai", "api-key", "OPENAI_API_KEY"), ("my.tool", "Token", "MY_TOOL_TOKEN"), ("tavily", "a--b", "TAVILY_A_B")],
)
def test_a_secret_has_one_variable(name: str, key: str, variable: str) -> None:
    assert variable_for(name, key) == variable


async def test_the_environment_gives_the_value() -> None:
    secrets = EnvironmentSecrets({"OPENAI_API_KEY": "sk-1"})
    assert await secrets.read("any", "openai", "api-key") == "sk-1"


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}])
async def test_a_missing_variable_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(NotFoundError, match="set the environment variable OPENAI_API_KEY"):
        await EnvironmentSecrets(environ).read("default", "openai", "api-key")


async def test_manifests_hold_plain_and_encoded_values_and_plain_ones_win() -> None:
    encoded = {"a": base64.b64encode(b"from-data").decode(), "b": base64.b64encode("ü".encode()).decode()}
    secrets = ManifestSecrets([manifest(data=encoded, stringData={"a": "plain"})])
    assert await secrets.read("default", "openai", "a") == "plain"
    assert await secrets.read("default", "openai", "b") == "ü"


async def test_a_secret_of_another_namespace_is_not_found() -> None:
    secrets = ManifestSecrets([manifest(namespace="team-a", stringData={"k": "v"})])
    assert await secrets.read("team-a", "openai", "k") == "v"
    with pytest.raises(NotFoundError, match=r"stringData\.k"):
        await secrets.read("team-b", "openai", "k")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"data": {"k": "not base64!"}}, r"data\.k"),
        ({"data": {"k": base64.b64encode(b"\xff\xfe").decode()}}, r"data\.k"),
        ({"stringData": {"k": 5}}, r"stringData\.k"),
        ({"stringData": ["k"]}, "stringData"),
    ],
)
def test_a_bad_manifest_names_the_field_and_never_the_value(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidManifestError, match=named) as error:
        ManifestSecrets([manifest(**fields)])
    assert "not base64!" not in str(error.value)


async def test_a_bad_reload_keeps_the_earlier_values() -> None:
    secrets = ManifestSecrets([manifest(stringData={"k": "old"})])
    with pytest.raises(InvalidManifestError):
        secrets.load([manifest(stringData={"k": "new"}), {"kind": "Secret"}])
    assert await secrets.read("default", "openai", "k") == "old"
    secrets.load([manifest(stringData={"k": "new"})])
    assert await secrets.read("default", "openai", "k") == "new"


async def test_the_first_reader_that_has_it_wins_and_all_hints_are_told() -> None:
    chained = ChainedSecrets(ManifestSecrets([manifest(stringData={"k": "file"})]), EnvironmentSecrets({"OPENAI_K": "env"}))
    assert await chained.read("default", "openai", "k") == "file"
    assert await chained.read("other", "openai", "k") == "env"
    with pytest.raises(NotFoundError, match=r"stringData\.x, or set the environment variable OPENAI_X"):
        await chained.read("default", "openai", "x")
