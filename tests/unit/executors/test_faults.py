import pytest

from toolorchestra.core.errors import EgressDeniedError, InvalidManifestError, NotFoundError, ToolOrchestraError, UpstreamError
from toolorchestra.executors.faults import SERVED, blamed, not_served, refused, unauthorized


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UpstreamError("h:1 cannot be reached"), "spec.x: h:1 cannot be reached (correct it, or see that the server runs and answers)"),
        (UpstreamError("[SSL] record layer failure"), "spec.x: [SSL] record layer failure (write http:// for a server without TLS)"),
        (EgressDeniedError("h is private", param="egress.allow", hint="open it"), "spec.x: h is private (open it)"),
        (InvalidManifestError("not installed", param="spec.plugin.name"), "spec.plugin.name: not installed"),
        (InvalidManifestError("spec.x: {a} is none", param="spec.x"), "spec.x: {a} is none"),
        (NotFoundError("the Secret is not there", hint="create it"), "the Secret is not there (create it)"),
    ],
)  # fmt: skip
def test_the_field_is_named_once_and_the_fix_is_said(error: ToolOrchestraError, told: str) -> None:
    assert blamed(error, field="spec.x") == told


def test_what_is_no_list_of_models_is_told_with_what_it_is() -> None:
    assert refused(404, None) == "HTTP 404"
    assert refused(200, None) == "HTTP 200, but no such list"
    assert "redirects to http://h/" in refused(307, "http://h/")
    assert "up to and with the version" in not_served(["a"], field="spec.endpoint.baseUrl")
    assert "the server's log" in not_served(["a"], field=SERVED)


def test_a_key_is_wanted_or_another_one() -> None:
    assert "set spec.endpoint.apiKeySecretRef" in unauthorized("u", 401, with_key=False)
    assert "check the key" in unauthorized("u", 401, with_key=True)
