"""Notify at real targets: a mail server, apprise's JSON, and an ntfy server."""

import email
import email.policy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from pollect.api import Batch, ConfigError, Metric, Retryable, Secret, SourceId, WriteError
from pollect.config.sections import convert_section
from pollect.errors import InvalidConfig
from pollect.plugin import WriterContext
from pollect.testing import FakeClock, serve_http
from pollect.testing.waiting import wait_until
from pollect_writers.notify.incidents import Incident
from pollect_writers.notify.messages import Templates
from pollect_writers.notify.targets import build_targets
from pollect_writers.notify.writer import NotifyWriter
from tests.simulators import ntfy as ntfy_server
from tests.simulators.daemons import free_port

DISKS = SourceId("home", "DiskUsage")
SPACE = Metric(unit="bytes", labels=("disk", "type"))
RULE = {
    "metric": "home_DiskUsage",
    "labels": {"type": "free"},
    "below": 5e9,
    "summary": "the disk fills up",
}


class Phone:
    """One Notify, and the clock that it lives by."""

    def __init__(self, folder: Path, *to: str, **options: Any) -> None:
        self.folder, self.to, self.options = folder, to, options
        self.clock = FakeClock()
        self.writer = self._build()

    def _build(self) -> NotifyWriter:
        section = {
            "type": "Notify",
            "to": list(self.to),
            "rules": [RULE],
            "wait": 0,
            **self.options,
        }
        config = convert_section(NotifyWriter.config_type, section, strict=True)
        ready = threading.Event()
        ready.set()
        context = WriterContext(
            name="Notify",
            clock=self.clock,
            config_dir=self.folder,
            state_dir=self.folder,
            ready=ready,
        )
        return NotifyWriter(config, context)

    def open(self) -> None:
        self.writer.open()

    def restart(self, seconds: float = 10.0) -> None:
        """Stop, stay away for so long, and start again."""
        self.writer.close()
        self.clock.advance(seconds)
        self.writer = self._build()
        self.writer.open()

    def free(self, value: float) -> None:
        self.writer.write([Batch(DISKS, [SPACE.sample(value, "_", "free")], self.clock.time())])


@pytest.fixture
def ntfy() -> Iterator[ntfy_server.Ntfy]:
    with ntfy_server.running() as server:
        yield server


@pytest.fixture
def phone(tmp_path: Path, ntfy: ntfy_server.Ntfy) -> Iterator[Phone]:
    phone = Phone(tmp_path, ntfy.url)
    phone.open()
    yield phone
    phone.writer.close()


def test_ntfy_gets_one_message_and_one_all_clear(phone: Phone, ntfy: ntfy_server.Ntfy) -> None:
    for _ in range(3):
        phone.free(4.2e9)
    for _ in range(3):
        phone.free(50e9)

    first, second = ntfy.messages
    assert first["topic"] == "alerts"
    assert "problem: home_DiskUsage" in first["title"]
    assert first["message"].startswith(
        'the disk fills up: home_DiskUsage{disk="_", type="free"} is 4.2 GB, below 5 GB, since 20'
    )
    assert "over" in second["title"]
    assert second["message"].endswith("over after 0 s, now 50 GB")


def test_a_restart_neither_repeats_nor_forgets(phone: Phone, ntfy: ntfy_server.Ntfy) -> None:
    phone.free(4e9)
    phone.restart()
    phone.free(4e9)
    assert len(ntfy.messages) == 1

    phone.restart(seconds=86_400)
    phone.free(50e9)
    assert [": over: " in message["title"] for message in ntfy.messages] == [False, True]


def test_waiting_for_so_long_goes_on_across_a_restart(tmp_path: Path) -> None:
    with ntfy_server.running() as ntfy:
        phone = Phone(tmp_path, ntfy.url, rules=[{**RULE, "for": "10m"}])
        phone.open()
        phone.free(4e9)
        phone.clock.advance(400)
        phone.restart(seconds=100)
        phone.free(4e9)
        assert ntfy.messages == []
        phone.clock.advance(110)
        phone.free(4e9)
        phone.writer.close()

    assert len(ntfy.messages) == 1


def test_a_target_that_is_away_gets_the_message_once_when_it_is_back(
    phone: Phone, ntfy: ntfy_server.Ntfy
) -> None:
    ntfy.busy = True
    with pytest.raises(Retryable, match=r"to\[0\] \(ntfy\)"):
        phone.free(4e9)
    phone.restart()
    ntfy.busy = False
    phone.clock.advance(600)
    wait_until(lambda: bool(ntfy.messages), "the message to arrive")
    phone.free(4e9)
    phone.restart()

    assert len(ntfy.messages) == 1


def test_one_target_that_is_away_does_not_repeat_what_others_have(tmp_path: Path) -> None:
    with ntfy_server.running() as well, ntfy_server.running() as away:
        away.busy = True
        phone = Phone(tmp_path, well.url, away.url)
        phone.open()
        for _ in range(2):
            with pytest.raises(Retryable):
                phone.free(4e9)
        away.busy = False
        phone.clock.advance(600)
        phone.free(4e9)
        phone.writer.close()

    assert (len(well.messages), len(away.messages)) == (1, 1)


def test_no_secret_is_kept_or_said(
    phone: Phone, ntfy: ntfy_server.Ntfy, caplog: pytest.LogCaptureFixture
) -> None:
    ntfy.password = "another"
    with pytest.raises(Retryable) as failed:
        phone.free(4e9)
    phone.writer.close()

    kept = (phone.folder / "notify" / "Notify.json").read_text()
    for text in (kept, str(failed.value), repr(phone.writer.config), caplog.text):
        assert "hush-password" not in text


def test_a_state_that_is_broken_is_said_and_begun_afresh(
    phone: Phone, ntfy: ntfy_server.Ntfy, caplog: pytest.LogCaptureFixture
) -> None:
    phone.writer.close()
    (phone.folder / "notify" / "Notify.json").write_text("{broken")
    phone.restart()
    phone.free(4e9)

    assert "alerts start over" in caplog.text
    assert len(ntfy.messages) == 1


def test_json_target_gets_title_text_and_kind(tmp_path: Path) -> None:
    with serve_http({"*": ""}) as server:
        phone = Phone(
            tmp_path,
            f"json://{server.address}/hook",
            title="{count} {state} on {host}",
            line="{alert} {metric} {value} {limit}",
        )
        phone.open()
        phone.free(4e9)
        phone.writer.close()
    (request,) = server.requests

    assert request.path == "/hook"
    assert request.json()["title"].startswith("1 problem on ")
    assert request.json()["message"] == "HomeDiskUsageBelow home_DiskUsage 4 GB 5 GB"
    assert request.json()["type"] == "failure"


class MailBox:
    """What a mail server took."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


def test_a_mail_arrives_at_a_real_server(tmp_path: Path) -> None:
    box = MailBox()
    port = free_port()
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    try:
        phone = Phone(
            tmp_path,
            f"mailto://127.0.0.1:{port}?from=pollect@nas.example&to=me@home.example&mode=insecure",
        )
        phone.open()
        phone.free(4.2e9)
        phone.free(50e9)
        phone.writer.close()
    finally:
        server.stop()
    problem, over = box.mails

    assert "problem: home_DiskUsage" in problem["Subject"]
    assert problem["To"].addresses[0].addr_spec == "me@home.example"
    assert "the disk fills up" in problem.get_body(("plain", "html")).get_content()
    assert "over" in over["Subject"]


def test_the_test_message_says_which_target_it_did_not_reach(tmp_path: Path) -> None:
    with ntfy_server.running() as ntfy:
        phone = Phone(tmp_path, ntfy.url)
        assert phone.writer.send_test() == ["to[0] (ntfy): sent"]
        assert "pollect can reach you" in ntfy.messages[0]["message"]
        ntfy.busy = True
        with pytest.raises(WriteError, match=r"to\[0\] \(ntfy\): "):
            phone.writer.send_test()


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({"title": "{nonsense}"}, "title", "unknown placeholder {nonsense}"),
        ({"line": "{hosts}"}, "line", "unknown placeholder {hosts}"),
        ({"text": " "}, "text", "expected a text, got nothing"),
        ({"rules": "default"}, "rules", "the word defaults, got 'default'"),
        ({"rules": [{"metric": "a"}]}, "rules[0]", "no condition"),
    ],
)
def test_what_makes_no_message_is_refused(
    tmp_path: Path, options: dict[str, Any], key: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        Phone(tmp_path, "json://127.0.0.1/", **options)

    assert refused.value.key == key
    assert problem in str(refused.value)


def test_an_address_that_apprise_does_not_know_is_refused_without_being_shown(
    tmp_path: Path,
) -> None:
    phone = Phone(tmp_path, "pigeon://secret-loft/")
    with pytest.raises(ConfigError) as refused:
        phone.writer.check_files()

    assert refused.value.key == "to[0]"
    assert "secret-loft" not in str(refused.value)


def test_an_unknown_option_of_a_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"rules\[0\]\.bellow.*below"):
        Phone(tmp_path, "json://127.0.0.1/", rules=[{**RULE, "bellow": 3}])


def test_the_end_of_a_source_that_was_down_does_not_repeat_the_reason() -> None:
    incident = Incident(
        key="down home/Http/a: b",
        alert="SourceDown",
        summary="",
        source="home/Http/a: b",
        what="home/Http/a: b is down: http://a/: Connection refused",
        over=39.0,
    )
    title, text = Templates().write("over", [incident], host="attic", now=39.0, offset=0.0)
    assert (title, text) == (
        "attic: over: home/Http/a: b is down",
        "home/Http/a: b is down, over after 39 s",
    )
    _, begun = Templates().write("problem", [incident], host="attic", now=39.0, offset=0.0)
    assert "Connection refused" in begun


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("ntfi://host/topic", "expected a URL that apprise knows"),
        ("ntfy//host/topic", "expected a URL that apprise knows"),
        (
            "mailto://hush-host?to=me@example.org",
            "lacks something .*apprise's page about mailto://",
        ),
        ("TGRAM://hush-token", "lacks something .*apprise's page about tgram://"),
    ],
)
def test_a_wrong_address_is_refused_by_what_is_wrong_with_it(address: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        build_targets([Secret(address)], timeout=1)
    assert "hush" not in str(refused.value)
