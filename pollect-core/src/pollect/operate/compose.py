"""A compose file for a config: the container with what its sources need, and no more.

The format is that of the Compose Specification (https://compose-spec.io), for docker compose and
podman-compose. A capability is only in effect for root in a container, so a source that needs one
makes the container run as root, with that capability alone.
"""

import grp
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pollect.operate.grants import Grant, Grants, grant, joined
from pollect.operate.survey import CREDENTIALS, Listening, Part, Survey

#: Where the host's root is inside.
HOST = "/host"
#: Where compose puts secrets.
SECRETS = "/run/secrets"
STATE = "/var/lib/pollect"
#: Folders of the image that nothing of the host may hide.
_OF_THE_IMAGE = ("/pollect", "/opt", "/usr", "/proc", "/sys", "/dev", "/etc/passwd", STATE)


@dataclass
class _Service(Grants):
    """What the container gets beside the usual, each with those that need it."""

    volumes: Grant = field(default_factory=dict)
    ports: Grant = field(default_factory=dict)
    sysctls: Grant = field(default_factory=dict)
    packages: Grant = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    host: list[str] = field(default_factory=list)
    host_network: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_compose(
    survey: Survey, *, image: str, version: str, dev: Path = Path("/dev")
) -> tuple[str, list[str]]:
    """Return the text of a compose file for a config, and what its operator has to know.

    `dev` is the folder of this host's device nodes.
    """
    service = _collect(survey, dev)
    lines = [
        f"# Made by pollect {version} for {survey.file.absolute()}:",
        f"#   pollect compose -c {survey.file}",
        "# What each source needs is named where it is allowed; make it again when others are",
        "# configured.",
        "services:",
        "  pollect:",
        *_indent(_image(service, image), 4),
        *_indent(_service(survey, service), 4),
        *_top(survey),
    ]
    text = "\n".join(" ".join(line.splitlines()) for line in lines) + "\n"
    return text, service.notes


def _collect(survey: Survey, dev: Path) -> _Service:
    service = _Service()
    parts = survey.unique()
    # In the network of the host a container cannot have kernel settings of its own.
    service.host_network = [part.label for part in parts if part.needs.multicast]
    for part in parts:
        _collect_part(service, survey, part, dev)
    return service


def _collect_part(service: _Service, survey: Survey, part: Part, dev: Path) -> None:
    needs, label = part.needs, part.label
    if needs.host:
        service.host.append(label)
    if needs.bus:
        service.bus.append(label)
    if needs.system_calls:
        service.calls.append(label)
    for program in needs.programs:
        if not part.command():
            grant(service.packages, program.package, label)
    settings = {setting.instead_of: setting for setting in needs.settings}
    for capability in needs.capabilities:
        absent = capability.device and not any(dev.glob(capability.device))
        if absent or capability.optional:
            continue
        setting = settings.get(capability.name)
        if setting is not None and not service.host_network:
            grant(service.sysctls, f"{setting.name}: {_text(setting.value)}", label)
        else:
            grant(service.capabilities, capability.name.removeprefix("CAP_"), label)
    for device in needs.devices:
        for node in sorted(dev.glob(device.pattern)):
            mode = "rw" if device.write else "r"
            grant(service.devices, f"/dev/{node.name}:/dev/{node.name}:{mode}", label)
            if device.group and (number := _group_number(device.group)):
                grant(service.groups, number, label)
    for name in needs.groups:
        if number := _group_number(name):
            grant(service.groups, number, label)
    for listening in part.ports():
        _collect_port(service, part, listening)
    for path in survey.paths(part):
        _collect_path(service, survey, part, path)


def _collect_port(service: _Service, part: Part, listening: Listening) -> None:
    if listening.local:
        service.notes.append(
            f"{part.label}: listens on {listening.address} only, which is inside the container; "
            "set `bind: 0.0.0.0` and limit the published port instead"
        )
    protocol = "/udp" if listening.protocol == "udp" else ""
    grant(service.ports, f"{listening.number}:{listening.number}{protocol}", part.label)


def _collect_path(service: _Service, survey: Survey, part: Part, path: Path) -> None:
    """Mount what is not beside the config, which is mounted anyway."""
    text = str(path)
    if path.is_relative_to(survey.directory) or not path.exists():
        return
    if part.needs.host and text not in ("/run/dbus/system_bus_socket",):
        return  # it is below /host
    if any(path.is_relative_to(folder) for folder in _OF_THE_IMAGE) or text == "/":
        return
    written = path in set(survey.paths(part, write=True))
    grant(service.volumes, f"{text}:{text}" + ("" if written else ":ro"), part.label)


def _image(service: _Service, image: str) -> Iterator[str]:
    yield f"image: {_text(image)}"
    for package, labels in service.packages.items():
        yield f"# {joined(labels)}: a program of {package}"
    if service.packages:
        packages = " ".join(service.packages)
        yield f"# The image needs them: make image ARGS='--build-arg PACKAGES=\"{packages}\"'"


def _service(survey: Survey, service: _Service) -> Iterator[str]:
    config = survey.file.absolute()
    yield "restart: unless-stopped"
    yield "read_only: true"
    yield "tmpfs: [/tmp]"
    yield "security_opt:"
    yield "  - no-new-privileges:true"
    if service.calls:
        # Docker before 23 and podman 4 forbid bpf() to all but CAP_SYS_ADMIN, which may do more.
        yield f"  # {joined(service.calls)}: calls that older runtimes filter beside the capability"
        yield "  - seccomp=unconfined"
    yield "cap_drop: [ALL]"
    if service.bus:
        yield f"# {joined(service.bus)}: the system bus knows root, and no user of the image"
    if service.capabilities or service.bus:
        yield "user: '0:0'"
        # Root without it may not even write to the state folder, which is another user's.
        grant(service.capabilities, "DAC_OVERRIDE", "root, for the state folder")
    yield from _list("cap_add", service.capabilities)
    yield from _list("devices", service.devices)
    yield from _list("group_add", service.groups)
    if service.sysctls:
        yield "sysctls:"
        for line, labels in service.sysctls.items():
            yield f"  # {joined(labels)}"
            yield f"  {line}"
    if service.host_network:
        yield f"# {joined(service.host_network)}: multicast packets end at a bridge"
        yield "network_mode: host"
    else:
        yield from _list("ports", service.ports)
    yield "volumes:"
    yield f"  - {_text(f'{config.parent}:/pollect:ro')}"
    yield f"  - {_text(f'pollect-state:{STATE}')}"
    if service.host:
        yield f"  # {joined(service.host)}: this machine, not the container"
        yield f"  - {_text(f'/:{HOST}:ro,rslave')}"
    yield from _items(service.volumes)
    yield f"command: {json.dumps(['run', '-c', f'/pollect/{_dollars(config.name)}'])}"
    yield from _environment(survey, service)
    if survey.credentials:
        yield f"secrets: {json.dumps(list(survey.credentials))}"


def _environment(survey: Survey, service: _Service) -> Iterator[str]:
    variables: dict[str, str] = {}
    if service.host:
        variables["POLLECT_ROOT"] = HOST
    if survey.credentials:
        variables[CREDENTIALS] = SECRETS
    if not (variables or survey.variables):
        return
    yield "environment:"
    for name, value in variables.items():
        yield f"  {name}: {value}"
    for name in survey.variables:
        # compose takes it from its own environment or from the file .env.
        yield f"  {name}: ${{{name}:?set it in .env}}"


def _top(survey: Survey) -> Iterator[str]:
    yield "volumes:"
    yield "  pollect-state: {}"
    if survey.credentials:
        yield "secrets:"
        for name in survey.credentials:
            yield f"  {name}:"
            yield f"    file: {_text(f'{survey.directory}/credentials/{name}')}"


def _list(key: str, items: Mapping[str, list[str]]) -> Iterator[str]:
    if items:
        yield f"{key}:"
        yield from _items(items)


def _items(items: Mapping[str, list[str]]) -> Iterator[str]:
    for item, labels in items.items():
        yield f"  # {joined(labels)}"
        yield f"  - {_text(item)}"


def _indent(lines: Iterator[str], columns: int) -> Iterator[str]:
    return (" " * columns + line for line in lines)


def _text(value: str) -> str:
    """Return a text in quotes; JSON is YAML, and compose would fill in a single dollar."""
    return json.dumps(_dollars(value), ensure_ascii=False)


def _dollars(value: str) -> str:
    return value.replace("$", "$$")


def _group_number(name: str) -> str:
    """Return the number of a group of this host: that of the image may be another."""
    try:
        return str(grp.getgrnam(name).gr_gid)
    except KeyError:
        return ""
