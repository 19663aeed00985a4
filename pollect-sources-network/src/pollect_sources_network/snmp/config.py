"""What the config says about an SNMP agent, checked and brought into one form."""

import ipaddress
import logging
import re
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from pollect.api import ConfigError, FilePath, Host, Seconds, Secret, SourceConfig

SNMP_PORT = 161
#: RFC 3414, section 11.2: shorter pass phrases are refused by agents as well.
MIN_PASS_PHRASE_LENGTH = 8
#: RFC 3414, section 2.4.
MAX_USER_OCTETS = 32
#: RFC 3411, section 5, SnmpEngineID.
ENGINE_ID_OCTETS = range(5, 33)
#: Requests of this size and their answers fit the buffers that agents and gufo-snmp have; an
#: encrypted answer with more than about 110 interface counters exceeds the 2048 bytes gufo-snmp
#: announces to an SNMPv3 agent.
MAX_OIDS = {"1": 100, "2c": 100, "3": 60}

AUTH_PROTOCOLS = ("MD5", "SHA", "SHA224", "SHA256", "SHA384", "SHA512")
PRIVACY_PROTOCOLS = ("DES", "AES", "AES192", "AES256", "AES192C", "AES256C")
SecurityLevel: TypeAlias = Literal["noAuthNoPriv", "authNoPriv", "authPriv"]

#: What net-snmp calls its transports; those of the first row are plain UDP.
_UDP_TRANSPORTS = ("udp", "udp4", "udpv4", "udp6", "udpv6", "udpipv6")
_OTHER_TRANSPORTS = (
    "tcp", "tcp6", "tcpv6", "tcpipv6", "tls", "tlstcp", "dtls", "dtlsudp", "ssh", "unix", "alias",
)  # fmt: skip


class AgentConfig(SourceConfig, frozen=True, kw_only=True):
    """The agent to talk to; common to all SNMP sources."""

    host: Annotated[
        Host,
        Meta(description="Agent: `name`, `address`, `host:port` or `transport:host:port`."),
    ]
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="Port if `host` names none; default 161."),
    ] = None
    snmp_version: Annotated[int | str, Meta(description="1, 2c or 3.")] = 1
    community_string: Annotated[
        Secret, Meta(description="Community of SNMP 1 and 2c, `public` by default.")
    ] = Secret("public")
    username: Annotated[str, Meta(description="Security name (SNMP 3).")] = ""
    auth_pass_phrase: Annotated[
        Secret | None, Meta(description="Pass phrase for authentication, at least 8 characters.")
    ] = None
    auth_protocol: Annotated[
        str, Meta(description="MD5, SHA, SHA-224, SHA-256, SHA-384 or SHA-512.")
    ] = "SHA"
    privacy_pass_phrase: Annotated[
        Secret | None, Meta(description="Pass phrase for encryption, at least 8 characters.")
    ] = None
    privacy_protocol: Annotated[
        str,
        Meta(
            description="DES, AES, AES-192 or AES-256; AES192C and AES256C for the key extension "
            "that Cisco uses."
        ),
    ] = "AES"
    security_level: Annotated[
        SecurityLevel | None,
        Meta(description="Level of SNMP 3; default: as high as the pass phrases given allow."),
    ] = None
    context_name: Annotated[
        str, Meta(description="Context of SNMP 3, as some devices have one for each VLAN.")
    ] = ""
    engine_id: Annotated[
        str,
        Meta(
            description="Engine id of the SNMP 3 agent in hex, as in 80001f8803aabbcc; default: "
            "the agent is asked for it."
        ),
    ] = ""
    unconnected: Annotated[
        bool,
        Meta(description="Take answers from other addresses than the one that was asked."),
    ] = False
    timeout: Annotated[Seconds | None, Meta(description="Seconds to wait for one answer.")] = 2.0
    retries: Annotated[
        int, Meta(ge=0, le=10, description="Further tries; none while the agent is down.")
    ] = 2
    max_oids_per_request: Annotated[
        Annotated[int, Meta(ge=1, le=128)] | None,
        Meta(description="OIDs asked for at once; default 100, with SNMP 3 60."),
    ] = None
    backend: Annotated[
        Literal["auto", "native", "snmpget"],
        Meta(
            description="What talks to the agent: `native`, the library gufo-snmp, or the program "
            "snmpget (Debian package snmp). `auto` takes the program for what the library cannot "
            "do: contexts, answers from other addresses, transports other than UDP."
        ),
    ] = "auto"
    mib_dirs: Annotated[
        tuple[FilePath, ...], Meta(description="Further folders with MIB files for snmptranslate.")
    ] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """Where an agent listens. `host` is without brackets."""

    transport: str
    host: str
    port: int

    @property
    def is_udp(self) -> bool:
        return self.transport in _UDP_TRANSPORTS

    @property
    def is_literal(self) -> bool:
        """Whether the host needs no name resolution."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def is_ipv6_only(self) -> bool:
        return self.is_udp and self.transport.endswith("6")

    def __str__(self) -> str:
        """Return the address as net-snmp's programs take it."""
        if ":" in self.host:
            transport = "udp6" if self.is_udp else self.transport
            return f"{transport}:[{self.host}]:{self.port}"
        return f"{self.transport}:{self.host}" + (f":{self.port}" if self.port else "")


_NO_SECRET = Secret("")


@dataclass(frozen=True, slots=True)
class Security:
    """Version and credentials, checked."""

    version: Literal["1", "2c", "3"]
    community: Secret = _NO_SECRET
    user: str = ""
    level: SecurityLevel = "noAuthNoPriv"
    auth_protocol: str = "SHA"
    auth_pass_phrase: Secret = _NO_SECRET
    privacy_protocol: str = "AES"
    privacy_pass_phrase: Secret = _NO_SECRET
    context: str = ""
    engine_id: bytes = b""

    @property
    def silence_hint(self) -> str:
        """What an agent may mean by not answering; empty if it is only down."""
        if self.version != "3":
            return "; agents do not answer to a wrong community either"
        causes = [
            name
            for name, is_given in (
                ("privacy pass phrase", self.level == "authPriv"),
                ("context", bool(self.context)),
                ("engine id", bool(self.engine_id)),
            )
            if is_given
        ]
        return f"; agents do not answer to a wrong {' or '.join(causes)} either" if causes else ""


def parse_address(host: str, port: int | None = None) -> Address:
    """Return the address in net-snmp's notation; `port` is used if the text has none.

    Raises `ConfigError` for `host`.
    """
    text = host.strip()
    transport = "udp"
    prefix, colon, rest = text.partition(":")
    if colon and prefix.lower() in (*_UDP_TRANSPORTS, *_OTHER_TRANSPORTS):
        transport, text = prefix.lower(), rest
    if transport in ("unix", "alias"):
        return Address(transport, text, 0)
    match = re.fullmatch(r"\[([^]]+)](?::(\d+))?|([^:\s]+)(?::(\d+))?", text)
    if match is None and Address(transport, text, 0).is_literal:
        return Address(transport, text, port or SNMP_PORT)
    if match is None:
        raise ConfigError(f"expected an agent like 192.168.1.2:161, got {host!r}", key="host")
    own_port = match[2] or match[4]
    if own_port is not None and not 0 < int(own_port) < 65536:
        raise ConfigError(f"expected a port from 1 to 65535, got {own_port}", key="host")
    return Address(transport, match[1] or match[3], int(own_port or port or SNMP_PORT))


def build_security(config: AgentConfig, log: logging.Logger) -> Security:
    """Return version and credentials of the config; raises `ConfigError`."""
    version = str(config.snmp_version).strip().lower().removeprefix("v")
    if version in ("1", "2", "2c"):
        _check_only_for_3(config.context_name, "contextName")
        _check_only_for_3(config.engine_id, "engineId")
        return Security("1" if version == "1" else "2c", community=config.community_string)
    if version != "3":
        raise ConfigError(f"expected 1, 2c or 3, got {config.snmp_version!r}", key="snmpVersion")
    if not config.username:
        raise ConfigError("SNMP 3 needs a user name", key="username")
    if len(config.username.encode()) > MAX_USER_OCTETS:
        raise ConfigError(f"expected at most {MAX_USER_OCTETS} octets", key="username")
    auth, privacy = config.auth_pass_phrase, config.privacy_pass_phrase
    level: SecurityLevel = config.security_level or (
        "authPriv" if privacy else "authNoPriv" if auth else "noAuthNoPriv"
    )
    if level != "noAuthNoPriv":
        _check_pass_phrase(auth, "authPassPhrase", level)
    if level == "authPriv":
        _check_pass_phrase(privacy, "privacyPassPhrase", level)
    return Security(
        "3",
        user=config.username,
        level=level,
        auth_protocol=_protocol(config.auth_protocol, AUTH_PROTOCOLS, "authProtocol"),
        auth_pass_phrase=auth or _NO_SECRET,
        privacy_protocol=_privacy_protocol(config.privacy_protocol, log),
        privacy_pass_phrase=privacy or _NO_SECRET,
        context=config.context_name,
        engine_id=parse_engine_id(config.engine_id),
    )


def parse_engine_id(text: str) -> bytes:
    """Return the octets of an engine id in hex, with or without `0x` and colons; empty for none.

    Raises `ConfigError` for `engineId`.
    """
    digits = re.sub(r"^0x|[: ]", "", text.strip().lower())
    if not digits:
        return b""
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        octets = b""
    if len(octets) not in ENGINE_ID_OCTETS:
        raise ConfigError(
            f"expected 5 to 32 octets in hex like 80001f8803aabbcc, got {text!r}", key="engineId"
        )
    return octets


def _check_only_for_3(value: str, key: str) -> None:
    if value:
        raise ConfigError("is known to SNMP 3 only", key=key, hint="add `snmpVersion: 3`")


def _check_pass_phrase(phrase: Secret | None, key: str, level: str) -> None:
    if not phrase:
        raise ConfigError(f"security level {level} needs a pass phrase", key=key)
    if len(phrase.reveal()) < MIN_PASS_PHRASE_LENGTH:
        raise ConfigError(f"expected at least {MIN_PASS_PHRASE_LENGTH} characters", key=key)
    if not phrase.reveal().isprintable():
        raise ConfigError("expected text without line breaks or control characters", key=key)


def _privacy_protocol(text: str, log: logging.Logger) -> str:
    # The manual of 1.x showed the names of hashes here.
    if text.upper() in ("SHA", "MD5"):
        log.warning("privacyProtocol: %s encrypts nothing, taken for AES", text)
        return "AES"
    return _protocol(text, PRIVACY_PROTOCOLS, "privacyProtocol")


def _protocol(text: str, known: tuple[str, ...], key: str) -> str:
    word = re.sub(r"[-_ ]", "", text.upper())
    word = {"SHA1": "SHA", "AES128": "AES"}.get(word, word)
    if word not in known:
        raise ConfigError(f"expected one of {', '.join(known)}, got {text!r}", key=key)
    return word
