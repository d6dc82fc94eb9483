"""The guard against real servers on loopback: what is checked is what is called."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from openai import AsyncOpenAI

from toolorchestra.core.errors import EgressDeniedError, UpstreamError
from toolorchestra.executors.testing import CountingProvider
from toolorchestra.kit.egress import EgressGuard, EgressLimits, ResponseTooLargeError, ResponseTooSlowError

NAME = "tool.example"


class Names:
    """A resolver that answers from a script and counts how often it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def port_of(url: str) -> int:
    port = httpx2.URL(url).port
    assert port is not None
    return port


@pytest.fixture
def named_url(http_peer: str) -> str:
    return f"http://{NAME}:{port_of(http_peer)}"


async def test_the_checked_address_is_called_under_the_original_name(named_url: str) -> None:
    names = Names(["127.0.0.1"])
    async with EgressGuard(["127.0.0.1"], resolver=names).client() as client:
        seen = (await client.get(f"{named_url}/echo")).json()
    assert seen["headers"]["host"] == httpx2.URL(named_url).netloc.decode()
    assert names.asked == 1


async def test_a_name_that_changes_its_answer_after_the_check_is_not_asked_again(named_url: str) -> None:
    # The second answer would be refused; a guard that checks first and connects by name later would ask for it.
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with EgressGuard(["127.0.0.1"], resolver=names).client() as client:
        assert (await client.get(f"{named_url}/nested")).status_code == 200
        assert names.asked == 1


async def test_a_name_that_turns_private_is_denied_at_the_next_connection(named_url: str) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    guard = EgressGuard(["127.0.0.1"], resolver=names)
    for denied in (False, True):
        async with guard.client() as client:
            if denied:
                with pytest.raises(EgressDeniedError, match=r"127\.0\.0\.2"):
                    await client.get(f"{named_url}/nested")
            else:
                await client.get(f"{named_url}/nested")


async def test_a_dead_address_is_skipped_for_one_that_answers(named_url: str) -> None:
    async with EgressGuard(["127.0.0.0/8"], resolver=Names(["127.0.0.9", "127.0.0.1"])).client() as client:
        assert (await client.get(f"{named_url}/nested")).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
    ],
)
async def test_no_spelling_of_a_loopback_address_gets_through(http_peer: str, host: str) -> None:
    async with EgressGuard().client() as client:
        with pytest.raises((EgressDeniedError, httpx2.InvalidURL)):
            await client.get(f"http://{host}:{port_of(http_peer)}/stats")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"])
async def test_every_spelling_reaches_an_opened_address(http_peer: str, host: str) -> None:
    async with EgressGuard([f"127.0.0.1:{port_of(http_peer)}"]).client() as client:
        assert (await client.get(f"http://{host}:{port_of(http_peer)}/nested")).status_code == 200


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"])
async def test_the_metadata_service_is_never_called(host: str) -> None:
    async with EgressGuard(["0.0.0.0/0", "::/0"]).client() as client:
        with pytest.raises(EgressDeniedError, match="metadata"):
            await client.get(f"http://{host}/latest/meta-data/")


async def test_a_redirect_is_not_followed_and_when_asked_for_is_checked(http_peer: str, named_url: str) -> None:
    guard = EgressGuard([NAME], resolver=Names(["127.0.0.1"]))
    target = f"http://127.0.0.1:{port_of(http_peer)}/nested"
    async with guard.client() as client:
        assert (await client.get(f"{named_url}/redirect", params={"to": target})).status_code == 307
        with pytest.raises(EgressDeniedError):
            await client.get(f"{named_url}/redirect", params={"to": target}, follow_redirects=True)


async def test_the_environment_cannot_add_a_proxy(
    http_peer: str, provider: CountingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", provider.origin)
    monkeypatch.setenv("ALL_PROXY", provider.origin)
    async with EgressGuard(["127.0.0.1"]).client() as client:
        assert (await client.get(f"{http_peer}/nested")).status_code == 200


async def test_an_answer_is_cut_off_at_the_cap(http_peer: str) -> None:
    async with EgressGuard(["127.0.0.1"]).client(limits=EgressLimits(max_bytes=100_000)) as client:
        with pytest.raises(ResponseTooLargeError, match="longer than 100000 bytes"):
            await client.get(f"{http_peer}/big")


@pytest.mark.parametrize("path", ["drip", "hang"])
async def test_the_whole_answer_has_a_deadline(http_peer: str, path: str) -> None:
    async with EgressGuard(["127.0.0.1"]).client(limits=EgressLimits(total_s=0.2)) as client:
        with pytest.raises(ResponseTooSlowError, match=r"after 0\.2 s"):
            await client.get(f"{http_peer}/{path}")


async def test_a_compressed_answer_is_refused(http_peer: str) -> None:
    async with EgressGuard(["127.0.0.1"]).client() as client:
        with pytest.raises(httpx2.DecodingError, match="compressed"):
            await client.get(f"{http_peer}/gzip")


async def test_a_shared_transport_outlives_its_clients(http_peer: str) -> None:
    names = Names(["127.0.0.1"])
    guard = EgressGuard(["127.0.0.1"], resolver=names)
    transport = guard.transport()
    for _ in range(3):
        async with guard.client({"x-key": "1"}, transport=transport) as client:
            assert (await client.get(f"{http_peer}/nested")).status_code == 200
    assert names.asked == 1, "the connection was kept"
    await transport.aclose()


async def test_reach_opens_a_connection_and_nothing_more(http_peer: str) -> None:
    guard = EgressGuard(["127.0.0.1"])
    await guard.reach(http_peer)
    with pytest.raises(UpstreamError, match=r"127\.0\.0\.1:9 cannot be reached"):
        await guard.reach("http://127.0.0.1:9/")
    with pytest.raises(EgressDeniedError):
        await EgressGuard().reach(http_peer)


async def test_the_openai_client_works_through_the_guard_and_is_denied_by_it(provider: CountingProvider) -> None:
    for allow, denied in ((["127.0.0.1"], False), ([], True)):
        async with EgressGuard(allow).client() as client:
            openai = AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0, http_client=client)
            if denied:
                with pytest.raises(EgressDeniedError):
                    await openai.models.list()
            else:
                assert [model.id async for model in await openai.models.list()] == ["counting"]


@pytest.fixture
async def tls_server(tmp_path: Path) -> AsyncIterator[tuple[int, ssl.SSLContext, list[str | None]]]:
    """A TLS server for ``tool.example``; gives its port, a context that trusts it, and the names clients asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path / "server.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    trusting = ssl.create_default_context(cadata=certificate.public_bytes(pem).decode())
    async with server:
        yield server.sockets[0].getsockname()[1], trusting, asked


async def test_tls_uses_the_original_name_for_sni_and_for_the_certificate(
    tls_server: tuple[int, ssl.SSLContext, list[str | None]],
) -> None:
    port, trusting, asked = tls_server
    guard = EgressGuard(["127.0.0.1"], resolver=Names(["127.0.0.1"]), ssl_context=trusting)
    async with guard.client() as client:
        assert (await client.get(f"https://{NAME}:{port}/")).text == "hi"
        with pytest.raises(httpx2.ConnectError, match="Hostname mismatch"):
            await client.get(f"https://other.example:{port}/")
    assert asked == [NAME, "other.example"]
    await guard.reach(f"https://{NAME}:{port}/")
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await EgressGuard(["127.0.0.1"], resolver=Names(["127.0.0.1"])).reach(f"https://{NAME}:{port}/")
