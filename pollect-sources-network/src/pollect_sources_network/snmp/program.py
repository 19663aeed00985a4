"""Requests through net-snmp's programs (Debian package `snmp`).

For what gufo-snmp cannot do: transports other than UDP, contexts, answers from another address,
platforms without a wheel. Each request is a process of about 7 ms. Community and pass phrases are
handed over in a private file, named by SNMPCONFPATH, since anybody may read command lines.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from pollect.api import AuthenticationFailed, MissingDependency, ProbeError
from pollect.support.process import read_output
from pollect_sources_network.snmp.agent import NoAnswer, RequestTooLarge, Undecodable
from pollect_sources_network.snmp.config import Address, Security
from pollect_sources_network.snmp.values import Value

PACKAGE = "snmp"
#: Numeric OIDs, enums as numbers, no units: one grammar whatever MIB files are installed.
_OUTPUT_OPTIONS = ("-On", "-Oe", "-OU")
#: A process needs this long to start and to end beside what it waits for its agent.
_PROCESS_SECONDS = 5.0

_LINE = re.compile(r"^(\.\d[\d.]*) = ?", re.MULTILINE)
_PARENTHESISED = re.compile(r".*?\((-?\d+)\)")
_LEADING_NUMBER = re.compile(r"-?\d+")
_INTEGERS = ("INTEGER", "Counter32", "Counter64", "Gauge32", "Unsigned32", "UInteger32")
#: What net-snmp says of its folders at the first request.
_CHATTER = "Created directory:"
_REFUSALS = (
    "authentication failure",
    "unknown user name",
    "unsupported security level",
    "authorizationerror",
    "decryption error",
    "not in time window",
)


class ProgramTransport:
    """Runs one process a request."""

    def __init__(
        self,
        address: Address,
        security: Security,
        *,
        timeout_seconds: float,
        max_repetitions: int,
    ) -> None:
        """Write the private file; raises `MissingDependency` without the programs."""
        if shutil.which("snmpget") is None:
            raise MissingDependency(
                "`backend: snmpget` needs the program snmpget: apt install snmp",
                program="snmpget",
                package=PACKAGE,
            )
        self._address = address
        self._security = security
        self._timeout_seconds = timeout_seconds
        self._max_repetitions = max_repetitions
        self._folder = tempfile.TemporaryDirectory(prefix="pollect-snmp-")
        folder = Path(self._folder.name)
        settings = folder / "snmp.conf"
        settings.touch(mode=0o600)
        settings.write_text(format_settings(security), encoding="utf-8")
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "SNMPCONFPATH": str(folder),
            "SNMP_PERSISTENT_DIR": str(folder / "persistent"),
            "MIBS": "",
            "LC_ALL": "C.UTF-8",
        }

    async def get(self, oids: Sequence[str]) -> dict[str, Value]:
        return parse_output(await self._run("snmpget", oids))

    async def walk(self, oid: str) -> AsyncIterator[tuple[str, Value]]:
        if self._security.version == "1":
            output = await self._run("snmpwalk", [oid])
        else:
            output = await self._run("snmpbulkwalk", [f"-Cr{self._max_repetitions}", oid])
        below = oid + "."
        for cell, value in parse_output(output).items():
            if cell.startswith(below):
                yield cell, value

    async def reset(self) -> None:
        pass

    async def close(self) -> None:
        self._folder.cleanup()

    async def _run(self, program: str, arguments: Sequence[str]) -> str:
        options = [a for a in arguments if a.startswith("-")]
        oids = [f".{a}" for a in arguments if not a.startswith("-")]
        process = await asyncio.create_subprocess_exec(
            program,
            *_OUTPUT_OPTIONS,
            "-t",
            f"{self._timeout_seconds:g}",
            "-r",
            "0",
            *self._engine_option(),
            *options,
            str(self._address),
            *oids,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds + _PROCESS_SECONDS):
                output, complaint = await read_output(process, program)
        except TimeoutError as error:
            raise NoAnswer(f"{self._address}: {program} does not end") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        # 1: nothing came of it. 2: the agent refused; what it did answer is printed all the same.
        failure = self._failure(complaint.decode(errors="replace"))
        if process.returncode == 1 or isinstance(failure, AuthenticationFailed):
            raise failure
        return output.decode(errors="surrogateescape")

    def _engine_option(self) -> Sequence[str]:
        engine_id = self._security.engine_id
        return ("-e", f"0x{engine_id.hex()}") if engine_id else ()

    def _failure(self, complaint: str) -> ProbeError:
        lines = [line for line in complaint.splitlines() if not line.startswith(_CHATTER)]
        reason = " ".join(" ".join(lines).split())[:120]
        text = f"{self._address}: {reason}"
        lower = reason.lower()
        if any(refusal in lower for refusal in _REFUSALS):
            return AuthenticationFailed(text)
        if lower.startswith("timeout"):
            silence = f"no answer within {self._timeout_seconds:g} s{self._security.silence_hint}"
            return NoAnswer(f"{self._address}: {silence}")
        if "too long" in lower or "too big" in lower:
            return RequestTooLarge(text)
        return NoAnswer(text)


def format_settings(security: Security) -> str:
    """Return the lines of snmp.conf that hold version and credentials."""
    # Words are read as the rest of their line, only texts may be quoted.
    lines = [f"defVersion {security.version}"]
    if security.version != "3":
        lines.append(f"defCommunity {_quoted(security.community.reveal())}")
        return "\n".join(lines) + "\n"
    lines += [
        f"defSecurityName {_quoted(security.user)}",
        f"defSecurityLevel {security.level}",
    ]
    if security.context:
        lines.append(f"defContext {_quoted(security.context)}")
    if security.level != "noAuthNoPriv":
        lines += [
            f"defAuthType {re.sub(r'^SHA(?=[0-9])', 'SHA-', security.auth_protocol)}",
            f"defAuthPassphrase {_quoted(security.auth_pass_phrase.reveal())}",
        ]
    if security.level == "authPriv":
        lines += [
            f"defPrivType {re.sub(r'^AES(?=[0-9])', 'AES-', security.privacy_protocol)}",
            f"defPrivPassphrase {_quoted(security.privacy_pass_phrase.reveal())}",
        ]
    return "\n".join(lines) + "\n"


def parse_output(output: str) -> dict[str, Value]:
    """Return the values in the output of snmpget or snmpwalk, by OID.

    One line a value, `.1.3.6.1 = TYPE: value`, except that a string may go over several lines.
    What does not exist is left out.
    """
    starts = [*_LINE.finditer(output)]
    ends = [*(match.start() for match in starts[1:]), len(output)]
    values: dict[str, Value] = {}
    for match, end in zip(starts, ends, strict=False):
        value = parse_value(output[match.end() : end].rstrip("\n"))
        if value is not None:
            values[match[1].removeprefix(".")] = value
    return values


def parse_value(text: str) -> Value:
    """Return the value behind the equals sign of a line, None if there is none.

    Raises `Undecodable` when a number is none.
    """
    if text == '""':
        return b""
    kind, colon, rest = text.partition(": ")
    if not colon and text.endswith(":"):
        kind, rest = text[:-1], ""
    try:
        if kind in _INTEGERS:
            return _integer(rest)
        if kind == "Timeticks":
            found = _PARENTHESISED.match(rest)
            return _integer(found[1] if found else rest)
        if kind == "Opaque":
            return float(rest.partition(": ")[2])
        if kind == "Hex-STRING":
            return bytes.fromhex(rest)
    except ValueError as error:
        raise Undecodable(f"expected a value of net-snmp, got {text[:80]!r}") from error
    if kind == "STRING":
        return _unquoted(rest).encode(errors="surrogateescape")
    if kind == "OID":
        return rest.removeprefix(".").replace("iso.", "1.", 1)
    if kind in ("IpAddress", "Network Address", "BITS", "NsapAddress"):
        return rest
    return None


def _integer(text: str) -> int:
    """Read `5`, `up(1)` and `1500 octets`."""
    enumerated = _PARENTHESISED.match(text)
    plain = _LEADING_NUMBER.match(text)
    if plain is None and enumerated is not None:
        return int(enumerated[1])
    return int(plain[0] if plain else text)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
