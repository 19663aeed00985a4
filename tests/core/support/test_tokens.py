import gc
import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from pollect.api import (
    AuthenticationFailed,
    BadResponse,
    PollectError,
    Secret,
    SourceContext,
    SourceId,
    TargetUnavailable,
)
from pollect.support.tokens import (
    REFUSED_SECONDS,
    Token,
    TokenFile,
    find_token_file,
    sign_in_command,
    token_file,
    token_of_reply,
)
from pollect.testing import FakeClock

COMMAND = "pollect auth Acme -c config.yml"


class Service:
    """The token endpoint of an account: gives out numbered tokens, or fails as asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls = 0
        self.failure: Exception | None = None
        self.reply: dict[str, object] = {"expires_in": 3600}

    def renew(self, old: Token) -> Token:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        reply = {"access_token": f"access-{self.calls}", **self.reply}
        return token_of_reply(reply, self.clock, keep=old.extra)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def service(clock) -> Service:
    return Service(clock)


@pytest.fixture
def tokens(tmp_path) -> TokenFile:
    return token_file(tmp_path / "acme.json", remedy=COMMAND)


def signed_in(tokens: TokenFile, clock: FakeClock, *, lifetime: float = 3600) -> Token:
    token = Token(
        access=Secret("access-0"), refresh=Secret("refresh-0"), expires_at=clock.time() + lifetime
    )
    tokens.store(token)
    return token


def test_a_valid_token_costs_no_request(tokens, clock, service) -> None:
    token = signed_in(tokens, clock)
    assert tokens.usable(clock, renew=service.renew) == token
    assert service.calls == 0


def test_a_token_is_renewed_a_minute_before_it_ends_and_kept(tokens, clock, service) -> None:
    signed_in(tokens, clock)
    clock.advance(3539)
    assert tokens.usable(clock, renew=service.renew).access == Secret("access-0")
    clock.advance(1)
    before = tokens.version()
    assert tokens.usable(clock, renew=service.renew).access == Secret("access-1")
    assert tokens.version() == before
    kept = json.loads(tokens.file.read_text())
    assert kept["access_token"] == "access-1"
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600


def test_a_reply_without_refresh_token_keeps_the_old_one(tokens, clock, service) -> None:
    signed_in(tokens, clock, lifetime=0)
    assert tokens.usable(clock, renew=service.renew).refresh == Secret("refresh-0")
    service.reply["refresh_token"] = "refresh-2"
    clock.advance(3600)
    assert tokens.usable(clock, renew=service.renew).refresh == Secret("refresh-2")
    assert json.loads(tokens.file.read_text())["refresh_token"] == "refresh-2"


def test_all_sources_of_a_file_share_one_object_and_one_renewal(tokens, clock, service) -> None:
    signed_in(tokens, clock, lifetime=0)
    started = threading.Barrier(8)
    found: list[Token] = []

    def probe() -> None:
        mine = token_file(tokens.file.parent / "." / "acme.json", remedy=COMMAND)
        assert mine is tokens
        started.wait()
        found.append(mine.usable(clock, renew=slow_renew))

    def slow_renew(old: Token) -> Token:
        time.sleep(0.05)
        renewed: Token = service.renew(old)
        return renewed

    threads = [threading.Thread(target=probe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.calls == 1
    assert found == [found[0]] * 8


def test_a_token_that_the_service_rejects_is_renewed_once_for_all(tokens, clock, service) -> None:
    old = signed_in(tokens, clock)
    new = tokens.usable(clock, renew=service.renew, rejected=old)
    assert new.access == Secret("access-1")
    # Another source comes with the same complaint.
    assert tokens.usable(clock, renew=service.renew, rejected=old) == new
    assert service.calls == 1


def test_without_a_token_the_reason_is_the_command_to_run(tokens, clock, service) -> None:
    with pytest.raises(AuthenticationFailed, match=f"^not signed in: run '{COMMAND}'$"):
        tokens.usable(clock, renew=service.renew)
    assert service.calls == 0


def test_a_refused_renewal_names_the_command_and_waits_15_minutes(tokens, clock, service) -> None:
    signed_in(tokens, clock, lifetime=0)
    service.failure = AuthenticationFailed("refused with status 400: invalid_grant")
    for _ in range(5):
        with pytest.raises(AuthenticationFailed, match=f"invalid_grant; run '{COMMAND}'"):
            tokens.usable(clock, renew=service.renew)
        clock.advance(10)
    assert service.calls == 1
    clock.advance(REFUSED_SECONDS)
    with pytest.raises(AuthenticationFailed):
        tokens.usable(clock, renew=service.renew)
    assert service.calls == 2


def test_a_new_sign_in_of_another_process_is_found_at_once(tokens, clock, service) -> None:
    signed_in(tokens, clock, lifetime=0)
    service.failure = AuthenticationFailed("refused")
    with pytest.raises(AuthenticationFailed):
        tokens.usable(clock, renew=service.renew)
    new = {"access_token": "by-auth", "refresh_token": "r", "expires_in": clock.time() + 3600}
    before = tokens.version()
    tokens.file.write_text(json.dumps(new))
    assert tokens.version() != before
    assert tokens.usable(clock, renew=service.renew).access == Secret("by-auth")


def test_a_password_signs_in_when_the_renewal_is_refused(tokens, clock, service) -> None:
    signed_in(tokens, clock, lifetime=0)
    service.failure = AuthenticationFailed("refused")
    token = Token(access=Secret("by-password"))
    assert tokens.usable(clock, renew=service.renew, obtain=lambda: token) == token
    assert json.loads(tokens.file.read_text())["access_token"] == "by-password"


def test_a_refused_password_is_not_tried_again_for_15_minutes(tokens, clock) -> None:
    tries = []

    def obtain() -> Token:
        tries.append(clock.time())
        raise AuthenticationFailed("wrong password")

    for _ in range(200):
        with pytest.raises(AuthenticationFailed, match="wrong password"):
            tokens.usable(clock, obtain=obtain)
        clock.advance(10)
    assert [tried - tries[0] for tried in tries] == [0, 900, 1800]


def test_while_the_service_is_away_the_token_serves_to_its_end(tokens, clock, service) -> None:
    old = signed_in(tokens, clock, lifetime=30)
    service.failure = TargetUnavailable("no answer within 10 s")
    assert tokens.usable(clock, renew=service.renew) == old
    clock.advance(30)
    with pytest.raises(TargetUnavailable, match="no answer"):
        tokens.usable(clock, renew=service.renew)


def test_a_token_outlives_the_process_and_a_damaged_file_is_named(tmp_path, clock) -> None:
    file = tmp_path / "acme.json"
    signed_in(token_file(file, remedy=COMMAND), clock)
    gc.collect()
    again = token_file(file, remedy=COMMAND)
    assert again.usable(clock).access == Secret("access-0")
    for text, reason in (
        ("{", "expected JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "access_token: expected text, got NoneType"),
        ('{"access_token": "a\\nb"}', "access_token: expected printable ASCII characters only"),
    ):
        file.write_text(text)
        with pytest.raises(AuthenticationFailed) as caught:
            again.usable(clock)
        assert str(caught.value) == f"{file}: cannot read the token: {reason}; run '{COMMAND}'"


def test_a_link_is_neither_followed_nor_replaced(tmp_path, clock) -> None:
    target, file = tmp_path / "target.json", tmp_path / "acme.json"
    target.write_text('{"access_token": "somebody"}')
    file.symlink_to(target)
    tokens = token_file(file, remedy=COMMAND)
    for _ in range(2):
        with pytest.raises(AuthenticationFailed, match="is a symbolic link, expected a file"):
            tokens.usable(clock, obtain=lambda: Token(access=Secret("new")))
    assert file.is_symlink()
    assert json.loads(target.read_text()) == {"access_token": "somebody"}


def test_on_a_disk_that_is_read_only_the_token_lives_in_memory(tmp_path, clock, caplog) -> None:
    (tmp_path / "file").write_text("")
    tokens = token_file(tmp_path / "file" / "acme.json", remedy=COMMAND)  # no folder, never one
    token = Token(access=Secret("a"), expires_at=clock.time() + 3600)
    assert tokens.usable(clock, obtain=lambda: token) == token
    assert tokens.usable(clock) == token
    clock.advance(3600)
    another = Token(access=Secret("b"), expires_at=clock.time() + 3600)
    assert tokens.usable(clock, obtain=lambda: another) == another
    assert len(caplog.records) == 1
    assert "cannot keep the token, it is lost at the next restart" in caplog.text
    with pytest.raises(PollectError, match="cannot keep the token"):
        tokens.store(token)


def test_a_file_of_1x_is_used_and_kept_up_to_date_where_it_lies(
    tmp_path, clock, service, monkeypatch
) -> None:
    state, config, work = (tmp_path / name for name in ("state", "config", "work"))
    for folder in (config, work):
        folder.mkdir()
    monkeypatch.chdir(work)
    context = SourceContext(
        id=SourceId("home", "Acme", "cellar"),
        interval=10,
        clock=clock,
        config_dir=config,
        state_dir=state,
        config_file=Path("my config.yml"),
    )
    assert find_token_file(context, "acme.json") == state / "acme.json"
    for place in (work / "acme.json", config / "acme.json"):
        left = {"access_token": "1x", "refresh_token": "r1x", "token_type": "Bearer"}
        place.write_text(json.dumps({**left, "expires_in": int(clock.time())}))
        place.chmod(0o644)
        assert find_token_file(context, "acme.json") == place
    tokens = token_file(place, remedy=sign_in_command(context))
    assert tokens.usable(clock, renew=service.renew).access == Secret("access-1")
    assert json.loads(place.read_text()) == {
        "token_type": "Bearer",
        "access_token": "access-1",
        "refresh_token": "r1x",
        "expires_in": int(clock.time()) + 3600,
    }
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert find_token_file(context, "acme.json", "other.json") == state / "other.json"
    assert sign_in_command(context) == "pollect auth Acme -c 'my config.yml' cellar"
    work.joinpath("acme.json").unlink()
    work.rmdir()  # the working directory of this process
    assert find_token_file(context, "acme.json") == config / "acme.json"


@pytest.mark.parametrize("lifetime", [-5, 0, "soon", [], {}, True, float("nan"), "1e999"])
def test_a_lifetime_that_makes_no_sense_counts_as_over(lifetime, clock) -> None:
    token = token_of_reply({"access_token": "a", "expires_in": lifetime}, clock)
    assert token.expires_at == clock.time()


def test_a_lifetime_as_text_counts_and_one_without_end_is_cut(clock) -> None:
    token = token_of_reply({"access_token": "a", "expires_in": "3600"}, clock)
    assert token.expires_at == clock.time() + 3600
    token = token_of_reply({"access_token": "a", "expires_in": 10**300}, clock)
    assert token.expires_at == clock.time() + 10 * 365 * 86_400
    assert token_of_reply({"access_token": "a"}, clock).expires_at is None


@pytest.mark.parametrize(
    "reply",
    [
        None,
        [],
        "text",
        {},
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": "s3cr\x00t"},
    ],
)
def test_a_reply_without_a_usable_token_is_a_bad_response_that_quotes_nothing(reply, clock) -> None:
    with pytest.raises(BadResponse) as caught:
        token_of_reply(reply, clock)
    assert "s3cr" not in str(caught.value)


def test_a_token_never_shows_itself(clock) -> None:
    token = Token(access=Secret("s3cret"), refresh=Secret("s3cret"), extra={"email": "s3cret"})
    assert "s3cret" not in f"{token!r} {token}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_another_user_is_named(tokens, clock) -> None:
    signed_in(tokens, clock)
    tokens.file.chmod(0)
    with pytest.raises(AuthenticationFailed, match="Permission denied"):
        token_file(tokens.file, remedy=COMMAND).usable(clock)
