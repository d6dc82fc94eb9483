"""Which addresses the guard lets through; no sockets are opened here."""

from collections.abc import Sequence

import httpx2
import pytest

from toolorchestra.core.errors import EgressDeniedError, InvalidRequestError, UpstreamError
from toolorchestra.kit.addresses import parse_opening, read_address, what_is
from toolorchestra.kit.egress import EgressGuard


class Names:
    """A resolver that answers from a script, a new answer each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        if not self.answers:
            raise OSError("unknown name")
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "shared"),
        ("169.254.0.5", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("fd00:ec2::254", "metadata"),
        ("ff02::1", "multicast"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("64:ff9b:1::1", "reserved"),
        ("2002:7f00:1::", "6to4"),
        ("2001::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("::127.0.0.1", "reserved"),
        ("4000::1", "reserved"),
    ],
)
def test_addresses_that_are_not_public_are_named(address: str, what: str) -> None:
    assert what in (what_is(read_address(address)) or "public")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_pass(address: str) -> None:
    assert what_is(read_address(address)) is None


async def test_one_bad_address_among_good_ones_denies_the_name() -> None:
    guard = EgressGuard(resolver=Names(["8.8.8.8", "10.0.0.7"]))
    with pytest.raises(EgressDeniedError, match=r"api\.example\.org has the address 10\.0\.0\.7, a private address") as e:
        await guard.check("https://api.example.org/v1")
    assert 'add "10.0.0.7:443" to egress.allow' in str(e.value)
    assert "--allow-egress 10.0.0.7:443" in str(e.value)


async def test_the_metadata_address_cannot_be_opened_by_any_entry() -> None:
    guard = EgressGuard(["169.254.0.0/16", "0.0.0.0/0", "meta"], resolver=Names(["169.254.169.254"], ["64:ff9b::a9fe:a9fe"]))
    for _ in range(2):
        with pytest.raises(EgressDeniedError, match="cannot be opened"):
            await guard.check("http://meta/latest")


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("10.0.0.0/8", "http://api.internal/", "10.9.9.9"),
        ("10.9.9.9", "http://api.internal/", "10.9.9.9"),
        ("10.9.9.9:8000", "http://api.internal:8000/", "10.9.9.9"),
        ("api.internal", "http://API.internal/", "10.9.9.9"),
        ("api.internal:8000", "http://api.internal:8000/", "127.0.0.1"),
        ("[fd00::5]:8000", "http://api.internal:8000/", "fd00::5"),
        ("fd00::/8", "http://api.internal/", "fd00::5"),
        ("127.0.0.0/8", "http://api.internal/", "::ffff:127.0.0.1"),
    ],
)
async def test_an_entry_opens_what_it_says(entry: str, url: str, address: str) -> None:
    await EgressGuard([entry], resolver=Names([address])).check(url)


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("10.9.9.9:8000", "http://api.internal:8001/", "10.9.9.9"),
        ("api.internal:8000", "http://api.internal/", "10.9.9.9"),
        ("api.internal", "http://other.internal/", "10.9.9.9"),
        ("api.internal", "http://api.internal/", "169.254.7.7"),
        ("10.0.0.0/8", "http://api.internal/", "192.168.0.1"),
    ],
)
async def test_an_entry_opens_nothing_else(entry: str, url: str, address: str) -> None:
    with pytest.raises(EgressDeniedError):
        await EgressGuard([entry], resolver=Names([address])).check(url)


async def test_a_guard_with_more_openings_leaves_the_first_as_it_is() -> None:
    names = Names(["10.0.0.7"], ["10.0.0.8"], ["10.0.0.7"])
    guard = EgressGuard(["own.example"], resolver=names)
    opened = guard.opened("model.team-a.svc:80")
    await opened.check("http://model.team-a.svc")
    await opened.check("http://own.example")
    with pytest.raises(EgressDeniedError):
        await guard.check("http://model.team-a.svc")


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "host:0", "host:99999", "host:x", "a/b", "fd00::zz"])
def test_a_bad_entry_says_how_to_write_one(entry: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"egress\.allow"):
        parse_opening(entry)


@pytest.mark.parametrize("url", ["ftp://example.org/", "file:///etc/passwd", "gopher://x/", "/relative", "http://"])
async def test_only_http_and_https_urls_with_a_host_are_called(url: str) -> None:
    names = Names(["8.8.8.8"])
    guard = EgressGuard(resolver=names)
    with pytest.raises(EgressDeniedError, match="not an http or https URL"):
        await guard.check(url)
    async with guard.client() as client:
        with pytest.raises((EgressDeniedError, httpx2.UnsupportedProtocol)):
            await client.get(url)
    assert names.asked == []


async def test_a_refused_url_is_shown_without_its_password_and_query() -> None:
    with pytest.raises(EgressDeniedError) as error:
        await EgressGuard().check("ftp://user:secret@host/path?token=secret")
    assert "secret" not in str(error.value)


async def test_an_unknown_name_is_no_denial() -> None:
    with pytest.raises(UpstreamError, match="cannot be resolved"):
        await EgressGuard(resolver=Names()).check("https://nowhere.example/")


async def test_a_name_server_that_denies_a_name_once_is_asked_again() -> None:
    asked: list[str] = []

    async def hesitant(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        if len(asked) == 1:
            raise OSError("unknown name")
        return ["8.8.8.8"]

    await EgressGuard(resolver=hesitant).check("https://late.example/")
    assert asked == ["late.example", "late.example"]


async def test_a_denied_request_never_opens_a_connection() -> None:
    guard = EgressGuard(resolver=Names(["10.0.0.1"]))
    async with guard.client() as client:
        with pytest.raises(EgressDeniedError):
            await client.get("http://tool.example/")


@pytest.mark.parametrize("url", ["http://0177.0.0.1/", "http://h:port/", "http://[zz]/"])
async def test_what_is_no_url_is_said_so(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="not a URL"):
        await EgressGuard(resolver=Names(["8.8.8.8"])).check(url)
