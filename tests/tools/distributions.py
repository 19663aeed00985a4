"""Distributions made up by tests: unpacked as pip leaves them behind, or as wheels for pip."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_distribution(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    modules: Mapping[str, str] | None = None,
    plugin: str = "",
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Put a distribution into `folder` as if pip had installed it there.

    `modules` are file names and their text; `plugin` is what an entry point of `pollect.plugins`
    names.
    """
    for file, text in _files(name, version, modules or {}, plugin, requires, extras or {}).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_wheel(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    modules: Mapping[str, str] | None = None,
    plugin: str = "",
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write the wheel of a distribution and return its path; see `write_distribution`."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    files = _files(name, version, modules or {}, plugin, requires, extras or {})
    files[f"{stem}.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{stem}.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(record, "".join(f"{file},,\n" for file in (*files, record)))
    return path


def _files(
    name: str,
    version: str,
    modules: Mapping[str, str],
    plugin: str,
    requires: Sequence[str],
    extras: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, lines in extras.items():
        metadata.append(f"Provides-Extra: {extra}")
        metadata += [f'Requires-Dist: {line}; extra == "{extra}"' for line in lines]
    files = dict(modules)
    files[f"{info}/METADATA"] = "\n".join(metadata) + "\n"
    if plugin:
        files[f"{info}/entry_points.txt"] = f"[pollect.plugins]\nmain = {plugin}\n"
    return files
