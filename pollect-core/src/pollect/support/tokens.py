"""Tokens of cloud accounts: kept in a file, renewed before they end, shared in the process.

One `TokenFile` object stands for one file, however many sources use it, so a token is renewed
once and not by each of them::

    def open(self) -> None:
        file = find_token_file(self.context, "acme_token.json", self.config.token_file)
        self._tokens = token_file(file, remedy=sign_in_command(self.context))

    def probe(self) -> Iterable[Sample]:
        token = self._tokens.usable(self.context.clock, renew=self._renew)
        ...
        # The service refuses it although its time is not over: once more, with another one.
        token = self._tokens.usable(self.context.clock, renew=self._renew, rejected=token)

    def _renew(self, old: Token) -> Token:
        form = {"grant_type": "refresh_token", "refresh_token": old.refresh.reveal(), ...}
        reply = self._client.post(TOKEN_URL, data=form).json()
        return token_of_reply(reply, self.context.clock)

    def sign_in(self, dialogue: SignIn) -> None:
        ...
        self._tokens.store(token)  # `pollect auth` calls this; the daemon finds the new file

The daemon never asks anybody: without a usable token `usable` raises `AuthenticationFailed` with
the command to run. After a renewal was refused it asks the service again every 15 minutes, or at
once when the file changed.
"""

import json
import logging
import os
import shlex
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from pollect.errors import (
    AuthenticationFailed,
    BadResponse,
    PollectError,
    ProbeError,
    TargetUnavailable,
)
from pollect.plugin import Clock, SourceContext
from pollect.support._token import (
    OAuthFormat,
    Token,
    TokenFormat,
    ends_soon,
    is_over,
    moment_of_expiry,
    secret_of,
    token_of_reply,
)
from pollect.support.private_files import read_private, write_private

__all__ = [
    "OAuthFormat",
    "Token",
    "TokenFile",
    "TokenFormat",
    "find_token_file",
    "moment_of_expiry",
    "secret_of",
    "sign_in_command",
    "token_file",
    "token_of_reply",
]

#: How long the service is left alone after it refused to renew a token.
REFUSED_SECONDS = 900.0
#: How long a source waits for another one that renews the token they share.
LOCK_SECONDS = 30.0
#: Stands for a file that is to be looked at again.
_UNREADABLE = (-1, -1, -1)

log = logging.getLogger(__name__)


class TokenFile:
    """The token of one account; get it from `token_file`. Safe to use from several threads.

    Calls block while a token is renewed; a source that is async calls it in a thread.
    """

    def __init__(self, file: Path, form: TokenFormat, remedy: str) -> None:
        self.file = file
        self._format = form
        self._remedy = remedy
        self._lock = threading.Lock()
        self._token: Token | None = None
        #: What the file looked like when it was read or written last; None for no file.
        self._seen: tuple[int, int, int] | None = None
        #: Why there is no token although there is a file.
        self._damage = ""
        self._warned = False
        self._version = 0
        #: The service refused to renew, and is asked again at this monotonic time.
        self._refused: str = ""
        self._ask_again_at = 0.0

    def usable(
        self,
        clock: Clock,
        *,
        renew: Callable[[Token], Token] | None = None,
        obtain: Callable[[], Token] | None = None,
        rejected: Token | None = None,
    ) -> Token:
        """Return a token that is good for a request now.

        `renew` asks the service for a new one with the old one; `obtain` signs in without any,
        with a password of the config. Both raise `ProbeError`. `rejected` is a token that the
        service refused whatever its expiry says: another one is returned.

        Raises `AuthenticationFailed` with what to do, and what `renew` or `obtain` raise.
        """
        with self._locked():
            self._look_at_file()
            token = self._token
            if token is not None and token != rejected and not ends_soon(token, clock):
                return token
            if self._refused and clock.monotonic() < self._ask_again_at:
                raise AuthenticationFailed(self._refused)
            try:
                new = self._new_token(token, renew, obtain)
            except AuthenticationFailed as error:
                self._refused = str(error)
                self._ask_again_at = clock.monotonic() + REFUSED_SECONDS
                raise
            except ProbeError:
                # The one at hand is good for the rest of its minute.
                if token is None or token == rejected or is_over(token, clock):
                    raise
                return token
            self._keep(new)
            return new

    def stored(self) -> Token | None:
        """Return the token of the file, usable or not; None if there is none."""
        with self._locked():
            self._look_at_file()
            return self._token

    def version(self) -> int:
        """Return a number that changes when another process wrote the file: a new sign-in."""
        with self._locked(), suppress(AuthenticationFailed):
            self._look_at_file()
        return self._version

    def store(self, token: Token) -> None:
        """Keep the token of a sign-in; raises `PollectError` if it cannot be written."""
        with self._locked():
            try:
                self._write(token)
            except OSError as error:
                raise PollectError(
                    f"{self.file}: cannot keep the token: {error.strerror or error}"
                ) from error

    def _new_token(
        self,
        old: Token | None,
        renew: Callable[[Token], Token] | None,
        obtain: Callable[[], Token] | None,
    ) -> Token:
        refusal: AuthenticationFailed | None = None
        if old is not None and old.refresh is not None and renew is not None:
            try:
                new = renew(old)
            except AuthenticationFailed as error:
                refusal = error
            else:
                # A reply without a refresh token means that the old one stays good.
                return msgspec.structs.replace(new, refresh=new.refresh or old.refresh)
        if obtain is not None:
            return obtain()
        if refusal is not None:
            raise AuthenticationFailed(
                f"the token cannot be renewed: {refusal}; run {self._remedy!r}"
            ) from refusal
        if self._damage:
            raise AuthenticationFailed(f"{self._damage}; run {self._remedy!r}")
        what = "not signed in" if old is None else "the sign-in is no longer valid"
        raise AuthenticationFailed(f"{what}: run {self._remedy!r}")

    def _keep(self, token: Token) -> None:
        """Take over a new token; on a disk that is read-only it lives in memory."""
        self._refused = ""
        try:
            self._write(token)
        except OSError as error:
            self._token = token
            if not self._warned:
                self._warned = True
                log.warning(
                    "%s: cannot keep the token, it is lost at the next restart: %s",
                    self.file,
                    error.strerror or error,
                )

    def _write(self, token: Token) -> None:
        content = json.dumps(dict(self._format.write(token)), indent=1)
        write_private(self.file, content.encode())
        self._token, self._damage, self._refused = token, "", ""
        self._seen = _signature(self.file)

    def _look_at_file(self) -> None:
        """Read the file if it is new: `pollect auth` and other programs may have written it.

        Raises `AuthenticationFailed` while it cannot be opened, which also keeps it from being
        overwritten.
        """
        try:
            seen = _signature(self.file)
            if seen == self._seen:
                return
            self._token, self._damage, self._refused = None, "", ""
            self._version += 1
            content = None if seen is None else read_private(self.file)
        except OSError as error:
            self._seen = _UNREADABLE
            raise AuthenticationFailed(
                f"{self.file}: cannot read the token: {error.strerror or error}"
            ) from error
        # Taking away what others may do has not changed this.
        self._seen = seen
        if content is None:
            return
        try:
            data = json.loads(content)
            if not isinstance(data, dict):
                raise BadResponse("expected a JSON object")
            self._token = self._format.read(data)
        except BadResponse as error:
            self._damage = f"{self.file}: cannot read the token: {error}"
        except (ValueError, RecursionError):
            self._damage = f"{self.file}: cannot read the token: expected JSON"

    def begin_again(self) -> None:
        """Forget that the service refused a renewal: what the config says may have changed."""
        with self._locked():
            self._refused = ""

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            raise TargetUnavailable(
                f"{self.file.name}: another source has been renewing the token for "
                f"{LOCK_SECONDS:g} s"
            )
        try:
            yield
        finally:
            self._lock.release()


_OAUTH = OAuthFormat()
_files: weakref.WeakValueDictionary[Path, TokenFile] = weakref.WeakValueDictionary()
_files_lock = threading.Lock()


def token_file(file: Path, *, remedy: str, form: TokenFormat = _OAUTH) -> TokenFile:
    """Return the object for a file: the same one for everybody in this process.

    `remedy` is the command that signs in, see `sign_in_command`.
    """
    place = file.parent.resolve() / file.name
    with _files_lock:
        known = _files.get(place)
        if known is None:
            known = _files[place] = TokenFile(place, form, remedy)
    known.begin_again()
    return known


def find_token_file(context: SourceContext, name: str, option: str | None = None) -> Path:
    """Return where a source keeps its token.

    `option` is what the config says, relative to the state folder; else a file that pollect 1.x
    left beside the config or in the working directory; else `name` in the state folder.
    """
    if option:
        return context.state_dir / Path(option).expanduser()
    kept = context.state_dir / name
    # The working directory may have been removed: it is asked for where a file is in it only.
    candidates = (kept, context.config_dir / name, Path(name))
    return next((file.absolute() for file in candidates if file.exists()), kept)


def sign_in_command(context: SourceContext) -> str:
    """Return the command that signs a source in, for an error."""
    source = context.id
    words = ["pollect", "auth", source.type, "-c", str(context.config_file or "FILE")]
    if source.name is not None:
        words.append(source.name)
    return shlex.join(words)


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(file, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size
