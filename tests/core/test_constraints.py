"""`constraints.txt` and the bounds of the pyproject files fit together."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools.bounds import lowest_versions
from tests.tools.constraints import LEFT_OUT, constraint_lines
from tests.tools.environments import CONSTRAINTS, requirements

TESTED = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1]
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}


@pytest.mark.parametrize("line", sorted(set(requirements(("test", "lint", "build")))))
def test_every_requirement_has_a_tested_version_that_its_bounds_allow(line: str) -> None:
    requirement = Requirement(line)
    name = canonicalize_name(requirement.name)
    assert name in TESTED, f"add {name} to constraints.txt"
    assert requirement.specifier.contains(TESTED[name], prereleases=True)


def bring_along(lines: Iterable[str], extras: Iterable[str], found: set[str]) -> set[str]:
    """Return the names of all that requirements make pip install here, as far as it is.

    What another version than the tested one needs, as with `make bounds`, is left out.
    """
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        name = canonicalize_name(requirement.name)
        key = f"{name}[{','.join(sorted(requirement.extras))}]"
        if key in found:
            continue
        try:
            further = requires(name) or ()
        except PackageNotFoundError:  # of a group that only `make lint` needs
            continue
        found |= {name, key}
        if version(name) == TESTED.get(name):
            bring_along(further, requirement.extras, found)
    return found


def test_what_requirements_bring_along_has_a_tested_version_too() -> None:
    found = bring_along(requirements(("test", "lint", "build")), (), set())
    names = {name for name in found if "[" not in name}
    missing = names - TESTED.keys() - set(LEFT_OUT)
    assert not missing, "`make upgrade` adds what is missing in constraints.txt"


def test_lowest_versions_are_the_highest_of_the_lower_bounds() -> None:
    lines = ["A_b>=1.2", "a-b[x]>=1.10,<2; extra == 'y'", "c~=3.0", "d"]
    assert lowest_versions(lines) == {"a-b": "1.10", "c": "3.0"}


def test_constraints_are_names_and_versions_only() -> None:
    frozen = "b==2\npip==26\n-e ./x\nc @ file:///tmp/c.whl\nA==1\n"
    assert constraint_lines(frozen) == ["A==1\n", "b==2\n"]
