"""The kernel's bpf(2) system call, as far as counting packets needs it.

No library: maps, programs and links are file descriptors, made by one system call with a block of
attributes (uapi/linux/bpf.h, `union bpf_attr`). A link vanishes with its descriptor, so nothing
stays attached when the process ends, however it ends.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Mapping

from pollect.api import TargetUnavailable

#: Numbers of the system call, by `platform.machine()`.
SYSTEM_CALLS = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "i686": 357,
    "armv7l": 386,
    "armv6l": 386,
    "ppc64le": 361,
}

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY = range(5)
PROG_LOAD = 5
LINK_CREATE = 28

HASH, ARRAY, LRU_HASH, LPM_TRIE = 1, 2, 9, 11
NO_PREALLOC = 1
CGROUP_SKB = 8
INGRESS, EGRESS = 0, 1

#: The kernel takes a longer block of attributes if the rest is zero.
_ATTRIBUTE_BYTES = 128
_LOG_BYTES = 1 << 18
_LOG_TAIL_CHARACTERS = 400
_LICENSE = b"MIT\0"


class BpfError(OSError):
    """A bpf(2) call failed: which `command`, and the end of the verifier's `log`."""

    def __init__(self, command: int, what: str, number: int, log: str = "") -> None:
        super().__init__(number, f"{what}: {os.strerror(number)}")
        self.command = command
        self.log = log


def call_number() -> int:
    """Return the number of bpf(2) here; raises `TargetUnavailable` where it is not supported."""
    if sys.byteorder != "little":
        raise TargetUnavailable("the packet counter is built for little-endian machines only")
    machine = platform.machine()
    try:
        return SYSTEM_CALLS[machine]
    except KeyError:
        raise TargetUnavailable(f"bpf(2) is not known on {machine}") from None


def _bpf(what: str, command: int, attributes: bytes) -> int:
    block = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(call_number(), command, block, _ATTRIBUTE_BYTES))
    if result < 0:
        raise BpfError(command, what, ctypes.get_errno())
    return result


class Map:
    """A map of the kernel: keys and values are bytes of fixed sizes."""

    def __init__(
        self, name: str, kind: int, key_bytes: int, value_bytes: int, entries: int, flags: int = 0
    ) -> None:
        self.name = name
        self._key_bytes = key_bytes
        self._value_bytes = value_bytes
        attributes = struct.pack(
            "=7I16s", kind, key_bytes, value_bytes, entries, flags, 0, 0, name.encode()
        )
        self.descriptor = _bpf(f"create map {name}", MAP_CREATE, attributes)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._element(MAP_UPDATE, key, ctypes.create_string_buffer(value, len(value)))

    def __delitem__(self, key: bytes) -> None:
        self._element(MAP_DELETE, key, None)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, None if there is none."""
        value = ctypes.create_string_buffer(self._value_bytes)
        try:
            self._element(MAP_LOOKUP, key, value)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def __iter__(self) -> Iterator[bytes]:
        """Yield every key; one that appears or goes meanwhile may be missed."""
        key: bytes | None = None
        while (key := self._next_key(key)) is not None:
            yield key

    def close(self) -> None:
        os.close(self.descriptor)

    def _next_key(self, key: bytes | None) -> bytes | None:
        following = ctypes.create_string_buffer(self._key_bytes)
        try:
            self._element(MAP_NEXT_KEY, key, following)
        except BpfError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return following.raw

    def _element(
        self, command: int, key: bytes | None, other: "ctypes.Array[ctypes.c_char] | None"
    ) -> None:
        # The buffers must outlive the call: the attributes hold their addresses only.
        given = ctypes.create_string_buffer(key, len(key)) if key is not None else None
        attributes = struct.pack(
            "=I4xQQQ",
            self.descriptor,
            ctypes.addressof(given) if given is not None else 0,
            ctypes.addressof(other) if other is not None else 0,
            0,
        )
        _bpf(f"use map {self.name}", command, attributes)


def load_program(name: str, instructions: bytes, attach_type: int) -> int:
    """Load a program into the kernel and return its descriptor.

    Raises `BpfError`, with the end of the verifier's log where that has something to say.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    log = ctypes.create_string_buffer(_LOG_BYTES)

    def load(log_level: int) -> int:
        attributes = struct.pack(
            "=IIQQIIQII16sII",
            CGROUP_SKB,
            len(instructions) // 8,
            ctypes.addressof(code),
            ctypes.addressof(license_text),
            log_level,
            _LOG_BYTES if log_level else 0,
            ctypes.addressof(log) if log_level else 0,
            0,
            0,
            name.encode(),
            0,
            attach_type,
        )
        return _bpf(f"load program {name}", PROG_LOAD, attributes)

    try:
        return load(0)
    except BpfError as error:
        if error.errno == errno.EPERM:
            raise
    try:
        return load(1)
    except BpfError as error:
        error.log = log.value.decode(errors="replace").strip()[-_LOG_TAIL_CHARACTERS:]
        raise


def attach(program: int, cgroup_directory: int, attach_type: int) -> int:
    """Attach a program to a cgroup and return the descriptor of the link."""
    attributes = struct.pack("=4I", program, cgroup_directory, attach_type, 0)
    return _bpf("attach to the cgroup", LINK_CREATE, attributes)


def link_sections(elf: bytes, maps: Mapping[str, int]) -> dict[str, bytes]:
    """Return the code of the programs in an object file, by section, bound to the maps.

    The object is ELF64, little-endian. Each relocation names a map (by symbol) and a 16-byte
    `ld_imm64` instruction that gets the map's descriptor. Raises `ValueError` for anything else.
    """
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not an ELF64 little-endian object")
    table, count, names_index = _unpack("<Q", elf, 40)[0], *_unpack("<HH", elf, 60)
    headers = [_unpack("<IIQQQQIIQQ", elf, table + 64 * n) for n in range(count)]

    def content(index: int) -> bytes:
        offset, size = headers[index][4:6]
        return elf[offset : offset + size]

    names = content(names_index)
    by_name = {_text(names, header[0]): index for index, header in enumerate(headers)}
    symbols, strings = content(by_name[".symtab"]), content(headers[by_name[".symtab"]][6])
    linked: dict[str, bytes] = {}
    for name in ("ingress", "egress"):
        code = bytearray(content(by_name[name]))
        relocations = content(by_name[f".rel{name}"])
        for offset, info in struct.iter_unpack("<QQ", relocations):
            symbol = _text(strings, _unpack("<I", symbols, 24 * (info >> 32))[0])
            if symbol not in maps:
                raise ValueError(f"section {name} refers to the unknown map {symbol!r}")
            code[offset + 1] = (code[offset + 1] & 0x0F) | 0x10  # BPF_PSEUDO_MAP_FD
            struct.pack_into("<i", code, offset + 4, maps[symbol])
        linked[name] = bytes(code)
    return linked


def _unpack(layout: str, data: bytes, offset: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, data, offset)


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()
