"""The proxy: what it lets through, what it refuses, and how it ends."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.config import GatewayConfig
from services.gateway.egress import decision, report
from services.gateway.proxy.clienthello import ALERT
from services.gateway.tests import tls
from services.gateway.tests.stage import LIMIT, Stage, stage
from services.gateway.tests.upstream import FakeUpstream, Sent, chunk, http, saying, upstream
from wire.errors import Conflict, HiveError, LimitExceeded, Unavailable
from wire.records.ledger import EgressOutcome

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HELLO = tls.client_hello("server.test")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Echo:
    """A server that keeps what it gets, and answers it in capitals."""

    def __init__(self) -> None:
        self.got = b""
        self.connections = 0
        self.ended = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(65536):
                self.got += data
                writer.write(data.upper())
                await writer.drain()
            writer.write(b"BYE")
        except OSError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def rules(port: int) -> list[str]:
    """Return rules for server.test, at an address of this host."""
    return [f"server.test:{port}", f"127.0.0.1:{port}"]


async def connect(hive: Stage, target: str) -> Pair:
    """Open a tunnel."""
    reader, writer = await hive.open()
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    async with asyncio.timeout(LIMIT):
        assert await reader.readuntil(b"\r\n\r\n") == ESTABLISHED
    return reader, writer


async def refusal(hive: Stage, target: str) -> bytes:
    """Return the answer to a tunnel that is refused."""
    answer = await hive.raw(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode(), proxy=True)
    assert not answer.startswith(b"HTTP/1.1 2")
    return answer


async def test_a_tunnel_passes_bytes_and_the_end_of_each_way(tmp_path: Path) -> None:
    async with echo() as server, stage(tmp_path, egress=rules(server.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{server.port}")
        writer.write(b"hello")
        async with asyncio.timeout(LIMIT):
            assert await reader.readexactly(5) == b"HELLO"
            writer.write_eof()  # the other way goes on
            assert await reader.read(-1) == b"BYE"
        writer.close()
        assert server.got == b"hello"
        await hive.gateway.close()
        told = [r for r in hive.ledger.egress if r.outcome is EgressOutcome.ALLOWED]
        assert sum(r.connections for r in told) == 1
        assert (sum(r.sent for r in told), told[0].host) == (5, "server.test")
        assert sum(r.received for r in told) == len(ESTABLISHED) + 8


async def test_the_server_may_end_first(tmp_path: Path) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        writer.write(b"220 ready\r\n")
        writer.write_eof()
        assert await reader.read(-1) == b"still here"
        writer.close()

    async with upstream(act) as up, stage(tmp_path, egress=rules(up.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{up.port}")
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(LIMIT):
            assert await reader.read(-1) == b"220 ready\r\n"
            writer.write(b"still here")
            writer.write_eof()
            await up.gone.wait()
        writer.close()


async def test_a_name_without_a_rule_becomes_a_request(tmp_path: Path) -> None:
    async with stage(tmp_path, egress=["pypi.org"]) as hive:
        answer = await refusal(hive, "GitHub.com:443")
        assert answer.startswith(b"HTTP/1.1 403 Hyperhive refused github.com:443 for alice: ")
        assert b"The operator was asked" in answer.partition(b"\r\n\r\n")[2]
        assert b"\r\nProxy-Status: hyperhive; error=http_request_denied\r\n" in answer
        assert hive.ledger.checked == [("github.com", 443, "")]
        assert not hive.names.asked
        await hive.gateway.close()
        assert not hive.ledger.egress  # CheckEgress has counted it


@pytest.mark.parametrize("error", [Conflict("It was denied."), LimitExceeded("Too many wait.")])
async def test_the_agent_is_told_why_the_operator_is_not_asked(
    tmp_path: Path, error: HiveError
) -> None:
    async with stage(tmp_path) as hive:
        hive.ledger.fail.append(error)
        answer = await refusal(hive, "github.com:443")
        assert str(error).encode() in answer.partition(b"\r\n\r\n")[2]
        assert b"was asked" not in answer
        await hive.gateway.close()
        assert not hive.ledger.egress  # CheckEgress has counted it


async def test_an_allowance_for_once_lets_through(tmp_path: Path) -> None:
    async with echo() as server, stage(tmp_path, egress=[f"127.0.0.1:{server.port}"]) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        hive.ledger.once.add(("server.test", server.port))
        _, writer = await connect(hive, f"server.test:{server.port}")
        writer.close()


async def test_a_refusal_without_the_ledger_stays_a_refusal(tmp_path: Path) -> None:
    async with stage(tmp_path) as hive:
        hive.ledger.fail.append(Unavailable("gone"))
        answer = await refusal(hive, "github.com:443")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"could not be asked" in answer


@pytest.mark.parametrize("error", [Conflict("He denied it."), LimitExceeded("Too many wait.")])
async def test_a_refusal_says_why_the_operator_is_not_asked(
    tmp_path: Path, error: HiveError
) -> None:
    async with stage(tmp_path) as hive:
        hive.ledger.fail.append(error)
        said = (await refusal(hive, "github.com:443")).partition(b"\r\n\r\n")[2].decode()
        assert said.rstrip().endswith(f"no rule of its egress list allows it. {error}")


async def test_the_ledger_hears_of_the_first_connection_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, egress=["github.com"]) as hive:
        await refusal(hive, "github.com:443")  # the name has no address
        async with asyncio.timeout(report.SECONDS / 2):
            await hive.ledger.until_true(lambda: hive.ledger.egress)
        assert [one.host for one in hive.ledger.egress] == ["github.com"]


@pytest.mark.parametrize("network", ["host", "none"])
async def test_only_a_network_of_its_own_uses_the_proxy(tmp_path: Path, network: str) -> None:
    async with stage(tmp_path, network=network, egress=["*"]) as hive:
        assert (await refusal(hive, "github.com:443")).startswith(b"HTTP/1.1 403 ")
        assert not hive.ledger.checked


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.100.100.200", "0.0.0.0", "192.168.0.1"),
        *("::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("fe80::1", "fd00:ec2::254", "2001:0:1::1", "ff02::1", "168.63.129.16"),
    ],
)
async def test_a_name_that_leads_into_a_private_network(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Away from this host: the check of the address alone must refuse it.
    monkeypatch.setattr(decision, "leads_away", lambda _: True)
    async with stage(tmp_path, egress=["*"]) as hive:
        for answer in ([address], ["93.184.216.34", address], [address, "2606:4700::1111"]):
            hive.names.add("evil.test", answer)
            got = await refusal(hive, "evil.test:443")
            assert got.startswith(b"HTTP/1.1 403 ")
            assert b"destination_ip_prohibited" in got
        assert not hive.ledger.checked  # the name itself is allowed
        await hive.gateway.close()
        told = hive.ledger.egress
        assert {(one.host, one.outcome) for one in told} == {("evil.test", "refused")}
        assert sum(one.connections for one in told) == 3


async def test_a_public_address_of_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "leads_away", lambda a: str(a) != "93.184.216.34")
    async with stage(tmp_path, egress=["*"]) as hive:
        hive.names.add("us.test", ["93.184.216.34"])
        assert b"destination_ip_prohibited" in await refusal(hive, "us.test:443")


@pytest.mark.parametrize(
    "target",
    [
        *("127.1:443", "0:443", "2130706433:443", "0x7f000001:443", "0x7f.0.0.1:443"),
        *("017700000001:443", "0177.0.0.1:443", "127.0.0.1.:443", "[::ffff:127.0.0.1]:443"),
        *("[::1%lo]:443", "[::1]443", "[127.0.0.1]:443", "::1:443", "localhost.0x7f:443"),
        *("server.test", "server.test:", "server.test:0", "server.test:65536", ":443"),
        *("server.test:443:443", "user@server.test:443", "user:pw@server.test:443"),
        *("http://server.test:443", "server.test/:443", "server.test:443/", "*.test:443", "*:443"),
        *("server..test:443", "ser%76er.test:443", "server.test\\.evil:443", "-a.test:443"),
        *("sërver.test:443", "server.test#:443", "server.test?:443", "server.test:+443"),
    ],
)
async def test_a_target_that_programs_read_differently_is_invalid(
    tmp_path: Path, target: str
) -> None:
    async with stage(tmp_path, egress=["*"]) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        answer = await hive.raw(b"CONNECT " + target.encode() + b" HTTP/1.1\r\n\r\n", proxy=True)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert not hive.names.asked
        assert not hive.ledger.checked


@pytest.mark.parametrize("target", ["127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "8.8.8.8:443"])
async def test_an_address_needs_a_rule_of_its_own(tmp_path: Path, target: str) -> None:
    async with stage(tmp_path, egress=["*"]) as hive:
        assert (await refusal(hive, target)).startswith(b"HTTP/1.1 403 ")
        assert len(hive.ledger.checked) == 1


OWN = ("localhost", "app.localhost", "alice", "127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0", "[::]")


@pytest.mark.parametrize("host", OWN)
async def test_the_container_itself_is_reached_without_the_proxy(tmp_path: Path, host: str) -> None:
    async with stage(tmp_path, egress=["server.test"]) as hive:
        answer = await refusal(hive, f"{host}:3000")
        assert b"connect to a server in the container without the proxy" in answer
        assert b"The operator was asked" not in answer
        assert b"was asked" in await refusal(hive, "10.0.0.1:3000")


async def test_a_name_of_the_container_does_not_need_a_rule(tmp_path: Path) -> None:
    async with stage(tmp_path, egress=["*"]) as hive:
        hive.names.add("app.localhost", ["127.0.0.1"])
        assert b"without the proxy" in await refusal(hive, "app.localhost:443")


async def test_another_answer_after_the_check_changes_nothing(tmp_path: Path) -> None:
    """A name server that answers differently a moment later (DNS rebinding)."""
    async with (
        echo() as good,
        echo() as bad,
        stage(tmp_path, egress=[*rules(good.port), "*"]) as hive,
    ):
        hive.names.add("server.test", ["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"])
        _, writer = await connect(hive, f"server.test:{good.port}")
        writer.close()
        assert hive.names.asked == ["server.test"]
        assert (good.connections, bad.connections) == (1, 0)
        # The next connection sees the new answer, and refuses it.
        assert b" 403 " in await refusal(hive, f"server.test:{good.port}")
        assert b" 403 " in await refusal(hive, f"server.test:{good.port}")


async def test_the_next_address_is_tried(tmp_path: Path) -> None:
    async with echo() as server:
        allowed = [*rules(server.port), f"127.0.0.9:{server.port}"]
        async with stage(tmp_path, egress=allowed) as hive:
            hive.names.add("server.test", ["127.0.0.9", "127.0.0.1"])
            _, writer = await connect(hive, f"server.test:{server.port}")
            writer.close()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with stage(tmp_path, egress=rules(1)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        answer = await refusal(hive, "server.test:1")
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"connection refused" in answer
        assert b" 502 " in await refusal(hive, "127.0.0.1:1")
        hive.names.known.clear()
        assert b"the name has no address" in await refusal(hive, "server.test:1")
        await hive.gateway.close()
        assert {r.outcome for r in hive.ledger.egress} == {EgressOutcome.FAILED}


# The server name of TLS


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    "sent",
    [
        [HELLO],
        pieces(HELLO, 1),
        pieces(tls.records(HELLO, 5), 3),
        [tls.records(HELLO, 50)],
        [HELLO + b"\x17\x03\x03\x00\x02hi"],
    ],
)
async def test_the_allowed_server_name_passes_unchanged(tmp_path: Path, sent: list[bytes]) -> None:
    async with echo() as server, stage(tmp_path, egress=rules(server.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{server.port}")
        for piece in sent:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        whole = b"".join(sent)
        async with asyncio.timeout(LIMIT):
            assert await reader.readexactly(len(whole)) == whole.upper()
        writer.close()
        assert server.got == whole


EVIL = tls.client_hello("evil.test")


@pytest.mark.parametrize(
    "sent",
    [
        [EVIL],
        pieces(EVIL, 1),
        pieces(tls.records(EVIL, 5), 3),
        [tls.client_hello(None)],
        [tls.client_hello("www.server.test")],
        [tls.client_hello("server.test.evil.test")],
        [tls.hello_with(tls.server_name(b"server.test", b"evil.test"))],
        [tls.hello_with(tls.server_name(b"server.test"), tls.server_name(b"evil.test"))],
        [tls.hello_with(tls.server_name(b"server.test\0.evil.test"))],
        [tls.record(HELLO[5:] + EVIL[5:])],
        [tls.record(b"\x01\xff\xff\xff" + bytes(16_000))] * 5,
    ],
)
async def test_another_server_name_never_reaches_the_server(
    tmp_path: Path, sent: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with echo() as server, stage(tmp_path, egress=rules(server.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{server.port}")
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT):
            assert await reader.read(-1) == ALERT
            await server.ended.wait()
        writer.close()
        assert server.got == b""
        await hive.gateway.close()
        assert EgressOutcome.REFUSED in {r.outcome for r in hive.ledger.egress}
        assert f"A connection to server.test:{server.port} was refused" in caplog.text


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", HELLO[:60]], ids=["http", "cut-off"]
)
async def test_port_443_lets_nothing_but_tls_through(
    tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with echo() as server:
        monkeypatch.setattr("services.gateway.proxy.tunnel.HTTPS", server.port)
        async with stage(tmp_path, egress=rules(server.port)) as hive:
            hive.names.add("server.test", ["127.0.0.1"])
            reader, writer = await connect(hive, f"server.test:{server.port}")
            writer.write(sent)
            writer.write_eof()
            async with asyncio.timeout(LIMIT):
                assert await reader.read(-1) == ALERT
            writer.close()
            assert server.got == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: server.test:{port}\r\nHost: evil.test\r\n\r\n",
        b"GET http://evil.test/ HTTP/1.1\r\nHost: server.test:{port}\r\n\r\n",
        b"GET / HTTP/1.1\nHost: evil.test\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    ],
)
async def test_plain_http_in_a_tunnel_names_no_other_host(
    tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with echo() as server:
        monkeypatch.setattr("services.gateway.proxy.target.HTTP", server.port)
        async with stage(tmp_path, egress=rules(server.port)) as hive:
            hive.names.add("server.test", ["127.0.0.1"])
            reader, writer = await connect(hive, f"server.test:{server.port}")
            writer.write(sent.replace(b"{port}", b"%d" % server.port))
            writer.write_eof()
            async with asyncio.timeout(LIMIT):
                assert (await reader.read(-1)).startswith(b"HTTP/1.1 400 ")
            writer.close()
            assert server.got == b""


async def test_a_tunnel_carries_one_request_of_plain_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(saying(http(b"1"), close=False)) as up:
        monkeypatch.setattr("services.gateway.proxy.target.HTTP", up.port)
        async with stage(tmp_path, egress=rules(up.port)) as hive:
            hive.names.add("server.test", ["127.0.0.1"])
            reader, writer = await connect(hive, f"server.test:{up.port}")
            good = (
                f"POST /a?b HTTP/1.1\r\nHost: Server.test:{up.port}\r\nContent-Length: 2\r\n\r\nhi"
            )
            writer.write(good.encode() + b"GET /b HTTP/1.1\r\nHost: evil.test\r\n\r\n")
            async with asyncio.timeout(LIMIT):
                answer = await reader.read(-1)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close\r\n" in answer
            assert answer.endswith(b"\r\n\r\n1")
            writer.close()
            [sent] = up.sent
            assert (sent.first, sent.body) == ("POST /a?b HTTP/1.1", b"hi")
            assert sent.all("host") == [f"server.test:{up.port}"]


async def test_tls_passes_on_the_port_of_plain_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with echo() as server:
        monkeypatch.setattr("services.gateway.proxy.target.HTTP", server.port)
        async with stage(tmp_path, egress=rules(server.port)) as hive:
            hive.names.add("server.test", ["127.0.0.1"])
            reader, writer = await connect(hive, f"server.test:{server.port}")
            writer.write(HELLO)
            async with asyncio.timeout(LIMIT):
                assert await reader.readexactly(len(HELLO)) == HELLO.upper()
            writer.close()


# Rules that are taken away


@pytest.mark.parametrize("left", ["nothing", "the name", "the address", "no network"])
async def test_a_tunnel_ends_with_its_rule(tmp_path: Path, left: str) -> None:
    async with echo() as server, stage(tmp_path, egress=rules(server.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{server.port}")
        writer.write(b"a")
        async with asyncio.timeout(LIMIT):
            assert await reader.readexactly(1) == b"A"
            name, address = rules(server.port)
            kept = {"the name": [name], "the address": [address], "no network": [name, address]}
            network = "none" if left == "no network" else "gateway"
            hive.settings(network=network, egress=kept.get(left, []))
            assert await reader.read(-1) == b""
            await server.ended.wait()
        writer.close()


async def test_an_answer_of_plain_http_ends_with_its_rule(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    async with (
        upstream(saying(head, close=False)) as up,
        stage(tmp_path, egress=rules(up.port)) as hive,
    ):
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await hive.open()
        writer.write(f"GET http://server.test:{up.port}/ HTTP/1.1\r\n\r\n".encode())
        async with asyncio.timeout(LIMIT):
            await reader.readuntil(b"half")
            hive.settings(egress=[])
            assert await reader.read(-1) == b""
        writer.close()


async def test_other_rules_and_an_allowance_for_once_leave_tunnels_open(tmp_path: Path) -> None:
    async with echo() as server, stage(tmp_path, egress=rules(server.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        hive.names.add("once.test", ["127.0.0.1"])
        hive.ledger.once.add(("once.test", server.port))
        tunnels = [await connect(hive, f"{name}.test:{server.port}") for name in ("server", "once")]
        hive.settings(egress=[*rules(server.port), "github.com"])
        github = b"CONNECT github.com:443 HTTP/1.1\r\n\r\n"
        while b" 403 " in await hive.raw(github, proxy=True):
            pass  # until the new rule is in effect
        for reader, writer in tunnels:
            writer.write(b"a")
            async with asyncio.timeout(LIMIT):
                assert await reader.readexactly(1) == b"A"
            writer.close()


async def test_an_address_that_a_rule_names_may_have_any_server_name(tmp_path: Path) -> None:
    async with echo() as server, stage(tmp_path, egress=[f"127.0.0.1:{server.port}"]) as hive:
        reader, writer = await connect(hive, f"127.0.0.1:{server.port}")
        nameless = tls.client_hello(None)
        writer.write(nameless)
        async with asyncio.timeout(LIMIT):
            assert await reader.readexactly(len(nameless)) == nameless.upper()
        writer.close()


# Limits


def limited(**values: Any) -> GatewayConfig:
    """Return settings below their bounds, so that a test need not wait."""
    return GatewayConfig.model_construct(**dict(GatewayConfig()) | values)


async def test_a_silent_tunnel_is_closed(tmp_path: Path) -> None:
    config = limited(idle_timeout=0.3)
    async with (
        echo() as server,
        stage(tmp_path, egress=rules(server.port), config=config) as hive,
    ):
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{server.port}")
        async with asyncio.timeout(LIMIT):
            assert await reader.read(-1) == b""
            await server.ended.wait()
        writer.close()


async def test_a_tunnel_carries_so_many_bytes(tmp_path: Path) -> None:
    config = limited(max_transfer=1_000_000)
    async with (
        echo() as server,
        stage(tmp_path, egress=rules(server.port), config=config) as hive,
    ):
        hive.names.add("server.test", ["127.0.0.1"])
        reader, writer = await connect(hive, f"server.test:{server.port}")
        total = 0
        async with asyncio.timeout(LIMIT):
            try:
                while True:
                    writer.write(b"x" * 50_000)
                    total += len(await reader.readexactly(50_000))
            except (asyncio.IncompleteReadError, OSError):
                pass
        writer.close()
        assert 300_000 < total < 600_000


async def test_connections_of_an_agent_are_bounded(tmp_path: Path) -> None:
    async with echo() as server:
        config = limited(max_connections=3)
        async with stage(tmp_path, egress=rules(server.port), config=config) as hive:
            hive.names.add("server.test", ["127.0.0.1"])
            kept = [await connect(hive, f"server.test:{server.port}") for _ in range(3)]
            assert b" 503 " in await refusal(hive, f"server.test:{server.port}")
            for _, writer in kept:
                writer.close()


async def test_a_slow_head_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.proxy.server.HEAD_SECONDS", 0.2)
    async with stage(tmp_path) as hive:
        reader, writer = await hive.open()
        writer.write(b"CONNECT server.test:443 HTTP/1.1\r\nX")
        async with asyncio.timeout(LIMIT):
            assert await reader.read(-1) == b""
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT server.test:443\r\n\r\n",
        b"CONNECT  server.test:443 HTTP/1.1\r\n\r\n",
        b"CONNECT server.test:443 HTTP/2\r\n\r\n",
        b"CONNECT server.test:443 HTTP/1.1\r\nX : y\r\n\r\n",
        b"CONNECT server.test:443 HTTP/1.1\r\n x: y\r\n\r\n",
        b"CONNECT server.test:443 HTTP/1.1\nHost: x\r\n\r\n",
        b"CONNECT server.test:443 HTTP/1.1\r\nx: a\0b\r\n\r\n",
        b"CONNECT server.test:443 HTTP/1.1\r\nx: a\rb\r\n\r\n",
        b"CONNECT server.test:443 HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"CONNECT server.test:443 HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n",
        b"GET https://server.test/ HTTP/1.1\r\n\r\n",
        b"GET ftp://server.test/ HTTP/1.1\r\n\r\n",
        b"GET http://user@server.test/ HTTP/1.1\r\n\r\n",
        b"GET http://server.test\\@evil.test/ HTTP/1.1\r\n\r\n",
        b"GET http://127.1/ HTTP/1.1\r\n\r\n",
        b"GET http:///etc/passwd HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
    ],
)
async def test_a_head_that_is_not_strict_is_invalid(tmp_path: Path, head: bytes) -> None:
    async with stage(tmp_path, egress=["*"]) as hive:
        answer = await hive.raw(head, proxy=True)
        assert answer.startswith(b"HTTP/1.1 400 Hyperhive: "), answer
        assert not hive.names.asked


# Plain HTTP


@asynccontextmanager
async def web(
    tmp_path: Path, act: Callable[..., Any], **more: Any
) -> AsyncIterator[tuple[Stage, FakeUpstream, str]]:
    """Run a web server behind the proxy; yield its address, too."""
    async with upstream(act) as up, stage(tmp_path, egress=rules(up.port), **more) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        yield hive, up, f"http://server.test:{up.port}"


async def test_plain_http_is_written_anew(tmp_path: Path) -> None:
    answer = http(b"hi", "Keep-Alive: 5", "Connection: x-hop", "X-Hop: 1", "X-End: 2")
    async with web(tmp_path, saying(answer)) as (hive, up, url):
        got = await hive.raw(
            f"GET {url}/a?b=1 HTTP/1.1\r\nHost: evil.test\r\nProxy-Authorization: Basic x\r\n"
            "Proxy-Connection: close\r\nUpgrade: h2c\r\nConnection: close, X-Secret, upgrade\r\n"
            "X-Secret: 1\r\nAccept: */*\r\n\r\n".encode(),
            proxy=True,
        )
        [sent] = up.sent
        assert sent.first == "GET /a?b=1 HTTP/1.1"
        assert sent.headers == [
            ("Host", f"server.test:{up.port}"),
            ("Accept", "*/*"),
            ("Connection", "close"),
        ]
        head, _, body = got.partition(b"\r\n\r\n")
        assert (body, head.count(b"\r\n")) == (b"hi", 4)
        assert b"\r\nX-End: 2" in head
        assert b"\r\nConnection: close" in head


async def test_a_connection_serves_one_request_after_the_other(tmp_path: Path) -> None:
    async with web(tmp_path, saying(http(b"hi"))) as (hive, up, url):
        get = f"GET {url}/%d HTTP/1.1\r\nHost: x\r\n\r\n"
        got = await hive.raw(
            "".join(get % n for n in range(3)).encode()
            + f"GET {url}/last HTTP/1.1\r\nConnection: close\r\n\r\n".encode(),
            proxy=True,
        )
        assert got.count(b"HTTP/1.1 200 OK\r\n") == 4
        assert [sent.first.split()[1] for sent in up.sent] == ["/0", "/1", "/2", "/last"]
        assert up.connections == 4


async def test_each_request_on_a_connection_is_decided_anew(tmp_path: Path) -> None:
    async with web(tmp_path, saying(http(b"hi"))) as (hive, up, url):
        got = await hive.raw(
            f"GET {url}/ HTTP/1.1\r\n\r\nGET http://evil.test/ HTTP/1.1\r\n\r\n".encode(),
            proxy=True,
        )
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\nhiHTTP/1.1 403 " in got
        assert len(up.sent) == 1


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length:",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: Xchunked",
    ],
)
async def test_a_request_with_two_lengths_does_not_leave(tmp_path: Path, framing: str) -> None:
    async with web(tmp_path, saying(http(b"hi"))) as (hive, up, url):
        got = await hive.raw(
            f"POST {url}/ HTTP/1.1\r\n{framing}\r\n\r\n0\r\n\r\n".encode(), proxy=True
        )
        assert got.startswith(b"HTTP/1.1 400 ")
        assert not up.connections


async def test_chunks_need_http_1_1(tmp_path: Path) -> None:
    async with web(tmp_path, saying(http(b"hi"))) as (hive, up, url):
        got = await hive.raw(
            f"POST {url}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
            proxy=True,
        )
        assert got.startswith(b"HTTP/1.1 400 ")
        assert not up.connections


async def test_bodies_pass_and_what_follows_is_another_request(tmp_path: Path) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        if sent.all("transfer-encoding"):
            sent.body = await reader.readuntil(b"0\r\n\r\n")
        writer.write(http(b"ok"))

    async with web(tmp_path, act) as (hive, up, url):
        chunks = b"3;x=y\r\nabc\r\n" + chunk(b"defg") + b"0\r\nX-Trailer: 1\r\n\r\n"
        got = await hive.raw(
            f"POST {url}/1 HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()
            + b"12345"
            + f"PUT {url}/2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + chunks
            + f"GET {url}/3 HTTP/1.1\r\nConnection: close\r\n\r\n".encode(),
            proxy=True,
        )
        assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert [(sent.first.split()[1], sent.body) for sent in up.sent] == [
            ("/1", b"12345"),
            ("/2", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"),
            ("/3", b""),
        ]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 502),
        (b"garbage\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\n folded\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", 502),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304),
    ],
)
async def test_answers_of_servers(tmp_path: Path, answer: bytes, status: int) -> None:
    async with web(tmp_path, saying(answer)) as (hive, _, url):
        got = await hive.raw(
            f"GET {url}/ HTTP/1.1\r\nConnection: close\r\n\r\n".encode(), proxy=True
        )
        assert got.startswith(b"HTTP/1.1 %d " % status), got


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n",
    ):
        folder = tmp_path / str(len(answer))
        folder.mkdir()
        async with web(folder, saying(answer)) as (hive, _, url):
            try:
                got = await hive.raw(f"GET {url}/ HTTP/1.1\r\n\r\n".encode(), proxy=True)
            except ConnectionResetError:
                continue
            assert not got.endswith(b"0\r\n\r\n")


async def test_a_server_that_hangs(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, *_: object) -> None:
        await reader.read(-1)

    async with web(tmp_path, hang, config=limited(idle_timeout=0.3)) as (hive, _, url):
        got = await hive.raw(f"GET {url}/ HTTP/1.1\r\n\r\n".encode(), proxy=True)
        assert got.startswith(b"HTTP/1.1 502 ")


async def test_a_flood_of_an_answer_waits_for_the_client(tmp_path: Path) -> None:
    """100 MB for a client that does not read stay at the server."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Sent) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _number in range(100):
            writer.write(b"x" * 1_000_000)
            sent += 1_000_000
            await writer.drain()

    async with web(tmp_path, flood) as (hive, _, url):
        reader, writer = await hive.open()
        writer.write(f"GET {url}/ HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(LIMIT):
            await reader.readuntil(b"\r\n\r\n")
            received = 0
            while received < 20_000_000:
                received += len(await reader.read(65536))
            assert sent < received + 40_000_000
            while piece := await reader.read(2**20):
                received += len(piece)
        assert received == 100_000_000
        writer.close()


async def test_the_address_that_was_checked_is_the_one_that_is_connected(tmp_path: Path) -> None:
    async with echo() as server, stage(tmp_path, egress=rules(server.port)) as hive:
        hive.names.add("server.test", ["127.0.0.1"])
        _, writer = await connect(hive, f"SERVER.test.:{server.port}")
        writer.close()
        assert hive.names.asked == ["server.test"]
        assert ipaddress.ip_address("127.0.0.1").is_loopback
