"""`pollect auth` as an operator uses it, with a plugin that uses every part of the dialogue."""

import fcntl
import json
import os
import pty
import stat
import subprocess
import termios
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollect.testing import serve_http
from pollect.testing.waiting import wait_until
from tests.e2e.command import LIMIT_SECONDS, POLLECT, call
from tests.simulators.daemons import free_port
from tests.simulators.sign_in import AuthorizationServer, browser_command

PLUGIN = '''
from typing import Annotated

from msgspec import Meta

from pollect.api import (
    AuthenticationFailed, Metric, SignIn, Source, SourceConfig,
)
from pollect.support.http import HttpClient
from pollect.support.tokens import find_token_file, sign_in_command, token_file, token_of_reply

POWER = Metric("power", help="Power in watts.", unit="watts")


class AcmeConfig(SourceConfig, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Where the service is.")]
    redirect: Annotated[str, Meta(description="Redirect URL.")]


class AcmeSource(Source[AcmeConfig]):
    """The account of a test."""

    config_type = AcmeConfig
    metrics = (POWER,)

    def open(self):
        self._client = HttpClient(timeout=30)
        file = find_token_file(self.context, "acme.json")
        self._tokens = token_file(file, remedy=sign_in_command(self.context))

    def probe(self):
        self._tokens.usable(self.context.clock)
        return {"power": 5}

    def sign_in(self, dialogue: SignIn):
        self.open()
        answer = dialogue.authorize(
            f"{self.config.url}/authorize",
            redirect_uri=self.config.redirect,
            parameters={"client_id": "client-of-the-test", "scope": "IoT User offline_access"},
        )
        form = {
            "grant_type": "authorization_code",
            "client_id": "client-of-the-test",
            "redirect_uri": answer.redirect_uri,
            "code": answer.code.reveal(),
            "code_verifier": answer.verifier.reveal(),
        }
        reply = self._client.post(f"{self.config.url}/token", data=form).json()
        self._tokens.store(token_of_reply(reply, self.context.clock))
        dialogue.show("found: heat pump")

    def close(self):
        print("closed")


class DoorSource(Source[SourceConfig]):
    """Asks for everything else."""

    def sign_in(self, dialogue):
        user = dialogue.ask("User", default="somebody")
        password = dialogue.ask_secret("Password")
        presses = iter([False, False, True])
        dialogue.wait_for("Press the button.", lambda: next(presses), pause=0.01)
        if password.reveal() != "open sesame":
            raise AuthenticationFailed(f"{user} gave the wrong password")


class BrokenSource(Source[SourceConfig]):
    """Fails in its own way."""

    def sign_in(self, dialogue):
        raise KeyError("token")


class PlainSource(Source[SourceConfig]):
    """Needs no sign-in."""
'''
TYPES = ("Acme", "Door", "Broken", "Plain")


class Site:
    """A folder with a config, and the service its sources belong to."""

    def __init__(self, folder: Path, server: AuthorizationServer, url: str) -> None:
        self.folder = folder
        self.server = server
        self.url = url
        self.state = folder / "state"
        extensions = folder / "extensions"
        extensions.mkdir()
        for name in TYPES:
            (extensions / f"{name}Source.py").write_text(PLUGIN)
        self.write_config(["Acme", "Door", "Broken", "Plain"])

    def write_config(self, types: list[str]) -> None:
        sources = [
            {"type": f"extensions.{name}", "url": self.url, "redirect": self.server.redirect_uri}
            if name == "Acme"
            else {"type": f"extensions.{name}"}
            for name in types
        ]
        executor = {"collection": "home", "sources": sources}
        config = {"executors": [executor], "writer": {"type": "Otel"}, "stateDir": str(self.state)}
        (self.folder / "config.json").write_text(json.dumps(config))

    def auth(
        self, *arguments: str, stdin: str = "", browser: bool = False
    ) -> subprocess.CompletedProcess[str]:
        environ = {"BROWSER": browser_command() if browser else "", "DISPLAY": ""}
        return call("auth", *arguments, folder=self.folder, environ=environ, stdin=stdin)


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    server = AuthorizationServer(f"http://localhost:{free_port()}/callback")
    with serve_http({"/authorize": server.authorize, "/token": server.token}) as service:
        yield Site(tmp_path, server, service.url)


def test_a_browser_on_this_machine_signs_in_by_itself(site) -> None:
    before = call("probe", "-c", "config", "extensions.Acme", folder=site.folder)
    assert before.returncode == 1
    file = site.folder / "config.json"
    assert f"run 'pollect auth extensions.Acme -c {file}'" in before.stderr
    done = site.auth("extensions.Acme", "-c", "config", browser=True)
    assert done.returncode == 0, done.stderr
    assert "found: heat pump" in done.stdout
    assert "home/extensions.Acme is signed in." in done.stdout
    assert "closed" in done.stdout
    token = site.state / "acme.json"
    assert json.loads(token.read_text())["access_token"] == site.server.access_token
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert "of-the-test" not in (done.stdout + done.stderr).replace("client-of-the-test", "")
    after = call("probe", "-c", "config", "extensions.Acme", folder=site.folder)
    assert after.returncode == 0, after.stderr


def test_a_page_that_brings_a_foreign_state_is_refused_and_waiting_goes_on(site) -> None:
    site.server.forged_state = "f" * 64
    process = subprocess.Popen(
        [POLLECT, "auth", "extensions.Acme", "-c", "config"],
        cwd=site.folder,
        env={**os.environ, "BROWSER": browser_command()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        # The browser of the test prints the status it was refused with.
        assert any("HTTP Error 400" in line for line in process.stderr)
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_SECONDS)
    assert not (site.state / "acme.json").exists()


def test_what_the_service_refuses_is_the_reason(site) -> None:
    site.server.refuses = "access_denied"
    done = site.auth("extensions.Acme", "-c", "config", browser=True)
    assert done.returncode == 1
    assert "the service refused: access_denied" in done.stderr


def sign_in_by_hand(site: Site, pasted: str) -> subprocess.CompletedProcess[str]:
    """Open the address in a browser elsewhere; `pasted` says what of its answer is pasted."""
    process = subprocess.Popen(
        [POLLECT, "auth", "extensions.Acme", "-c", "config", "--no-browser"],
        cwd=site.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "/authorize?" in line:
            break

    class Stop(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(Stop)
    try:
        opener.open(lines[-1].strip())
    except urllib.error.HTTPError as answer:
        location = answer.headers["Location"]
        answer.close()
    code = location.partition("code=")[2].partition("&")[0]
    answers = {"address": location, "code": code, "forged": location.replace("state=", "state=x")}
    rest, errors = process.communicate(f"\n{answers[pasted]}\n", timeout=LIMIT_SECONDS)
    return subprocess.CompletedProcess([], process.returncode, "".join(lines) + rest, errors)


@pytest.mark.parametrize("redirect", ["", "vicare://oauth-callback/everest"])
@pytest.mark.parametrize("pasted", ["address", "code"])
def test_a_browser_on_another_machine_is_answered_by_pasting(site, pasted, redirect) -> None:
    if redirect:
        site.server.redirect_uri = redirect
        site.write_config(["Acme"])
    done = sign_in_by_hand(site, pasted)
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads((site.state / "acme.json").read_text())["access_token"]


def test_a_pasted_address_of_another_sign_in_is_not_taken(site) -> None:
    site.server.redirect_uri = "vicare://oauth-callback/everest"
    site.write_config(["Acme"])
    done = sign_in_by_hand(site, "forged")
    assert done.returncode == 1
    assert "belongs to another sign-in" in done.stdout
    assert "standard input ended before a code was given" in done.stderr
    assert not (site.state / "acme.json").exists()


def test_questions_are_asked_and_secrets_are_not_repeated(site) -> None:
    done = site.auth("extensions.Door", stdin="\nopen sesame\n")
    assert done.returncode == 0, done.stderr
    assert "User [somebody]: " in done.stdout
    assert "Press the button." in done.stdout
    assert "sesame" not in done.stdout + done.stderr
    done = site.auth("extensions.Door", stdin="me\nwrong\n")
    assert (done.returncode, done.stderr) == (1, "pollect: me gave the wrong password\n")
    done = site.auth("extensions.Door")
    assert done.returncode == 1
    assert "standard input ended where an answer was expected: User" in done.stderr


def test_typing_a_password_at_a_terminal_shows_nothing(site) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [POLLECT, "auth", "extensions.Door"],
        cwd=site.folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(follower)
    seen = b""

    def read_until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(leader, 4096)

    read_until(b"User [somebody]: ")
    os.write(leader, b"me\n")
    read_until(b"Password: ")
    # Echo is switched off before the question is asked.
    os.write(leader, b"open sesame\n")
    wait_until(lambda: process.poll() is not None, "the end of the command")
    try:
        while part := os.read(leader, 4096):
            seen += part
    except OSError:
        pass  # the other end is closed
    os.close(leader)
    assert process.returncode == 0, seen
    assert b"sesame" not in seen


def test_mistakes_of_the_operator_are_named(site) -> None:
    done = site.auth("extensions.Plain")
    assert done.returncode == 2
    assert "extensions.Plain needs no sign-in" in done.stderr
    done = site.auth("Viesmann")
    assert done.returncode == 2
    assert "no source of type 'Viesmann'" in done.stderr
    assert "extensions.Acme, extensions.Door" in done.stderr
    site.write_config(["Door", "Door"])
    done = site.auth("extensions.Door")
    assert done.returncode == 2
    assert "home/extensions.Door, home/extensions.Door#2" in done.stderr
    done = site.auth("extensions.Door", "home/extensions.Door#2", stdin="\nopen sesame\n")
    assert done.returncode == 0, done.stderr
    done = site.auth("extensions.Door", "cellar")
    assert done.returncode == 2


def test_a_redirect_port_that_is_taken_is_named(site) -> None:
    with serve_http({}) as other:
        site.server.redirect_uri = f"http://127.0.0.1:{other.port}/"
        site.write_config(["Acme"])
        done = site.auth("extensions.Acme", browser=True)
    assert done.returncode == 2
    assert f"cannot listen on port {other.port}" in done.stderr


def test_whatever_a_plugin_raises_is_one_line(site) -> None:
    done = site.auth("extensions.Broken")
    assert done.returncode == 1
    expected = "pollect: home/extensions.Broken: the sign-in failed: KeyError: 'token'\n"
    assert done.stderr == expected
