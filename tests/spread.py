"""How a run of all tests is spread over several processes: most of the time tests wait.

The tests of one file stay together, in their order. So do files that share a costly thing; these
start first, as they take longest.
"""

from typing import Any

from xdist.scheduler import LoadScopeScheduling

#: One more than the cores of a small machine, as they wait for peers and for programs.
WORKERS = 3
#: Files, or the folders they are in, that stay together: what they share is made once a process.
GROUPS = {
    "images": ("tests/deploy/",),
    "wheels": (
        "tests/e2e/test_deps.py",
        "tests/e2e/test_init.py",
        "tests/e2e/test_home_family.py",
    ),
}


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # comes without types
    """Gives every process one file or group after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the name of what stays together with this test: a group, or its file."""
    file = nodeid.partition("::")[0]
    return next((name for name, parts in GROUPS.items() if file.startswith(parts)), file)


def encodable(data: Any) -> Any:
    """Return plain data as UTF-8 can hold it: half a surrogate pair becomes `\\ud800`."""
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, dict):
        return {encodable(key): encodable(value) for key, value in data.items()}
    if isinstance(data, list):
        return [encodable(each) for each in data]
    if isinstance(data, tuple):
        return tuple(encodable(each) for each in data)
    return data
