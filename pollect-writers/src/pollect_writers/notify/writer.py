"""Writer `Notify`: tells people when something is wrong, and when it is over.

Values are judged as they come, states of sources and everything that lasts by a thread of its own.
What is to be sent is first kept in the state folder, then sent by apprise to each target until it
has taken it; while one is away the outbox shows the writer as down. Needs the extra `notify`.
"""

import socket
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from pollect.api import Batch, Retryable, WriteError, Writer, WriterContext
from pollect.support.alerts import compile_rules
from pollect.support.backoff import Backoff
from pollect_writers.notify.config import NotifyConfig
from pollect_writers.notify.incidents import Incident, Incidents
from pollect_writers.notify.messages import Message, State, Templates
from pollect_writers.notify.state import read_state, write_state
from pollect_writers.notify.targets import Target, build_targets

#: Seconds between two looks at what lasts.
LOOK_SECONDS = 1.0
#: Seconds before a message is tried again, doubled each time up to the longest.
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 300.0
#: Messages that wait for targets at most; the oldest go first.
MOST_MESSAGES = 200

#: Whose file it is: after a reload the writer before may not have ended yet.
_owners: "weakref.WeakValueDictionary[Path, NotifyWriter]" = weakref.WeakValueDictionary()


class NotifyWriter(Writer[NotifyConfig]):
    """Sends messages to phones, mailboxes and chats: one when it begins, one when it is over."""

    config_type = NotifyConfig
    accepts_partial = True
    latest_only = True
    opens_at_once = True
    #: `pollect rules` prints its rules.
    notifies = True

    def __init__(self, config: NotifyConfig, context: WriterContext) -> None:
        super().__init__(config, context)
        self._incidents = Incidents(compile_rules(config.rules), wait_seconds=config.wait)
        self._templates = Templates(config.title, config.text, config.line)
        self._templates.check()
        self._file = context.state_dir / "notify" / f"{context.name}.json"
        self._host = socket.gethostname().partition(".")[0]
        #: Guards everything below, also while a target is sent something.
        self._lock = threading.RLock()
        self._targets: list[Target] = []
        self._messages: list[Message] = []
        self._next_number = 1
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._try_again_at = 0.0
        #: Why the last message did not arrive.
        self._failure: Retryable | None = None
        self._file_failed = False
        self._saved: object = None
        self._active = False
        self._look = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def check_files(self) -> None:
        """Refuse addresses that apprise does not know."""
        build_targets(self.config.to, timeout=self.config.timeout)

    def open(self) -> None:
        targets = build_targets(self.config.to, timeout=self.config.timeout)
        previous = _owners.get(self._file)
        if previous is not None and previous is not self:
            previous.close()
        _owners[self._file] = self
        with self._lock:
            self._targets = targets
            self._read_state()
            self._active = True
        self._closing = False
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"pollect-notify-{self.context.name}", daemon=True
            )
            self._thread.start()

    def write(self, batches: Sequence[Batch]) -> None:
        """Judge the values; raises `Retryable` while a target does not take its messages."""
        with self._lock:
            now = self.context.clock.monotonic()
            for batch in batches:
                self._incidents.take(batch, now)
            self._work()
            if self._failure is not None:
                pause = max(0.0, self._try_again_at - self.context.clock.monotonic())
                raise Retryable(str(self._failure), retry_after=min(pause, LOOK_SECONDS))

    def close(self) -> None:
        self._closing = True
        with self._look:
            self._look.notify_all()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            if self._active:
                self._save(always=True)
            self._active = False

    def send_test(self) -> list[str]:
        """Send a message to every target now; return a line for each, with what went wrong.

        For `pollect notify --test`, on a writer that was not opened. Raises `ConfigError` for an
        address that apprise does not know.
        """
        lines = []
        failed = False
        for target in build_targets(self.config.to, timeout=self.config.timeout):
            try:
                target.send(
                    f"{self._host}: test",
                    "pollect can reach you here: this is what an alert looks like",
                    "problem",
                )
            except Retryable as error:
                failed = True
                lines.append(str(error))
            else:
                lines.append(f"{target.name}: sent")
        if failed:
            raise WriteError("\n".join(lines))
        return lines

    def _run(self) -> None:
        while not self._closing:
            try:
                with self._lock:
                    if self._active:
                        self._work()
            except Exception as error:  # the thread outlives mistakes of ours
                self.log.error("a mistake while looking at alerts", exc_info=error)
            with self._look:
                if not self._closing:
                    self.context.clock.wait(self._look, LOOK_SECONDS)

    def _work(self) -> None:
        """Find what is to be sent, keep it, and send what waits; holds the lock."""
        clock = self.context.clock
        now = clock.monotonic()
        changes = self._incidents.advance(
            self.context.sources(), now, ready=self.context.ready.is_set()
        )
        for state, incidents in (
            ("problem", changes.begun),
            ("still", changes.lasting),
            ("over", changes.ended),
        ):
            if incidents:
                self._enqueue(state, incidents, now)  # type: ignore[arg-type]
        self._save()
        if self._messages and now >= self._try_again_at:
            self._send()

    def _enqueue(self, state: State, incidents: Sequence[Incident], now: float) -> None:
        offset = self.context.clock.time() - now
        title, text = self._templates.write(
            state, incidents, host=self._host, now=now, offset=offset
        )
        digests = [target.digest for target in self._targets]
        self._messages.append(Message(self._next_number, state, title, text, digests))
        self._next_number += 1
        self.log.info("%s", title)
        if len(self._messages) > MOST_MESSAGES:
            lost = self._messages.pop(0)
            self.log.error("too many messages are waiting: gave up on %r", lost.title)

    def _send(self) -> None:
        """Send each target what it was not sent yet, in order."""
        failure: Retryable | None = None
        for target in self._targets:
            for message in [one for one in self._messages if target.digest in one.targets]:
                if self._closing:
                    return
                try:
                    target.send(message.title, message.text, message.state)
                except Retryable as error:
                    failure = failure or error
                    break
                message.targets.remove(target.digest)
                self._messages = [one for one in self._messages if one.targets]
                self._save()
        self._failure = failure
        if failure is None:
            self._backoff.reset()
        else:
            self._try_again_at = self.context.clock.monotonic() + self._backoff.pause()

    def _read_state(self) -> None:
        clock = self.context.clock
        kept = read_state(self._file, now=clock.monotonic(), wall=clock.time(), log=self.log)
        self._incidents.open = {incident.key: incident for incident in kept.incidents}
        known = {target.digest for target in self._targets}
        for message in kept.messages:
            message.targets = [digest for digest in message.targets if digest in known]
        self._messages = [message for message in kept.messages if message.targets]
        self._next_number = kept.next_number

    def _save(self, *, always: bool = False) -> None:
        """Keep what changed; a disk that is full costs the memory of a restart, no message."""
        incidents = self._incidents.open
        facts = (
            [(one.key, one.announced, one.sent) for one in incidents.values()],
            [(one.number, tuple(one.targets)) for one in self._messages],
        )
        if facts == self._saved and not always:
            return
        clock = self.context.clock
        try:
            write_state(
                self._file,
                incidents.values(),
                self._messages,
                self._next_number,
                now=clock.monotonic(),
                wall=clock.time(),
            )
        except OSError as error:
            if not self._file_failed:
                self._file_failed = True
                self.log.error("%s: cannot be written: %s", self._file, error.strerror or error)
            return
        self._saved = facts
        if self._file_failed:
            self._file_failed = False
            self.log.info("%s: can be written again", self._file)
