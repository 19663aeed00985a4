"""From the config of an agent to an `Agent`, and from names to numbers."""

import asyncio
import logging
import os
import re
import shutil
from collections.abc import Iterable, Mapping

from pollect.api import ConfigError, MissingDependency, SourceContext
from pollect.support.process import environment, read_output
from pollect_sources_network.snmp.agent import Agent, Transport
from pollect_sources_network.snmp.config import MAX_OIDS, Address, AgentConfig, Security
from pollect_sources_network.snmp.native import NativeTransport
from pollect_sources_network.snmp.oids import is_name, is_numeric, split_name
from pollect_sources_network.snmp.program import PACKAGE, ProgramTransport

#: What snmp_exporter asks for at once as well.
MAX_REPETITIONS = 25
DEFAULT_TIMEOUT_SECONDS = 2.0
#: Left of a probe's deadline for saying what went wrong.
REPORT_SECONDS = 1.0
_TRANSLATE_SECONDS = 20.0


def check_backend(config: AgentConfig, address: Address, security: Security) -> None:
    """Raise `ConfigError` for what the library, the program, or neither of them can do."""
    needs_program = not address.is_udp or security.context or config.unconnected
    is_of_cisco = security.level == "authPriv" and security.privacy_protocol.endswith("C")
    if is_of_cisco and (needs_program or config.backend == "snmpget"):
        raise ConfigError(
            f"net-snmp's programs do not support {security.privacy_protocol}",
            key="privacyProtocol",
            hint="contexts, `unconnected` and transports other than UDP need these programs",
        )
    if config.backend != "native":
        return
    problems = {
        "host": "" if address.is_udp else "the native backend supports UDP only",
        "contextName": config.context_name and "the native backend does not support contexts",
        "unconnected": config.unconnected
        and "the native backend takes answers from the address it asked only",
    }
    for key, problem in problems.items():
        if problem:
            raise ConfigError(str(problem), key=key, hint="use `backend: snmpget`")


def build_agent(
    config: AgentConfig,
    address: Address,
    security: Security,
    context: SourceContext,
    log: logging.Logger,
    *,
    max_repetitions: int = MAX_REPETITIONS,
) -> Agent:
    """Return the agent, nothing sent yet; raises `MissingDependency`."""
    return Agent(
        _build_transport(config, address, security, context, log, max_repetitions),
        version=security.version,
        retries=config.retries,
        max_oids=config.max_oids_per_request or MAX_OIDS[security.version],
        clock=context.clock,
        log=log,
    )


def _build_transport(
    config: AgentConfig,
    address: Address,
    security: Security,
    context: SourceContext,
    log: logging.Logger,
    max_repetitions: int,
) -> Transport:
    timeout = config.timeout or DEFAULT_TIMEOUT_SECONDS
    is_native = address.is_udp and not security.context and not config.unconnected
    if config.backend != "snmpget" and is_native:
        try:
            return NativeTransport(
                address,
                security,
                timeout_seconds=timeout,
                max_repetitions=max_repetitions,
                clock=context.clock,
            )
        except MissingDependency:
            if config.backend == "native" or shutil.which("snmpget") is None:
                raise
            log.info("gufo-snmp is not installed, the program snmpget does its work")
    return ProgramTransport(
        address, security, timeout_seconds=timeout, max_repetitions=max_repetitions
    )


async def translate_names(
    oids: Iterable[tuple[str, str]], mib_dirs: Iterable[str]
) -> dict[str, str]:
    """Return the dotted numbers of those OIDs that begin with a name.

    `oids` come with the config key they stand at. Asks the program `snmptranslate` (Debian package
    `snmp`), one name at a time and each once. Raises `ConfigError` for a name it does not know.
    """
    translated: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    for key, oid in oids:
        if oid in translated or not is_name(oid):
            continue
        name, index = split_name(oid)
        if name not in prefixes:
            prefixes[name] = await _translate(name, key, list(mib_dirs))
        translated[oid] = prefixes[name] + index
    return translated


async def _translate(name: str, key: str, mib_dirs: list[str]) -> str:
    if shutil.which("snmptranslate") is None:
        raise ConfigError(
            f"{name} is not in pollect's table of objects",
            key=key,
            hint=f"write the OID in numbers, or install the Debian package {PACKAGE}",
        )
    folders = ["-M", "+" + os.pathsep.join(mib_dirs)] if mib_dirs else []
    search = [] if "::" in name else ["-IR"]
    process = await asyncio.create_subprocess_exec(
        "snmptranslate",
        "-On",
        "-m",
        "ALL",
        *folders,
        *search,
        name,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
    )
    try:
        async with asyncio.timeout(_TRANSLATE_SECONDS):
            output, _ = await read_output(process, "snmptranslate")
    except TimeoutError as error:
        raise ConfigError(f"snmptranslate does not end for {name}", key=key) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    oid = output.decode(errors="replace").strip().removeprefix(".")
    if not is_numeric(oid):
        raise ConfigError(
            f"neither pollect nor snmptranslate knows the object {name}",
            key=key,
            hint="write the OID in numbers, or name the folder of its MIB file in `mibDirs`",
        )
    return oid


def check_oid(oid: str, key: str) -> str:
    """Return `oid`, in numbers or with a name; raises `ConfigError` for `key`."""
    if not (is_numeric(oid) or is_name(oid)):
        raise ConfigError(
            f"expected an OID like 1.3.6.1.2.1.1.3.0 or SNMPv2-MIB::sysUpTime.0, got {oid!r}",
            key=key,
        )
    return oid


def fill_placeholder(oid: str, values: Mapping[str, int]) -> str:
    """Return `oid` with `${name}` replaced; other placeholders stay."""
    return re.sub(r"\$\{(\w+)\}", lambda found: str(values.get(found[1], found[0])), oid)
