"""What is missing, found from metadata and the PATH."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest

from pollect.discovery.entry import Entry
from pollect.discovery.requirements import (
    Installed,
    State,
    expand,
    find_missing,
    find_program,
    judge,
)
from pollect.needs import Needs, Program
from pollect.plugin import SourceSpec
from tests.tools.distributions import write_distribution

NO_PROGRAM = Program("pollect-no-such-program", "no-such-package")


def test_requirement_that_is_not_installed_is_missing(site: Path) -> None:
    write_distribution(site, "pollect-tide", extras={"sonar": ["no-such-library>=2"]})
    assert [str(part) for part in find_missing("pollect-tide", ["sonar"])] == ["no-such-library>=2"]
    assert find_missing("pollect-tide") == []


def test_too_old_a_version_is_missing_and_named(site: Path) -> None:
    write_distribution(site, "some-library", version="1.4")
    write_distribution(site, "pollect-tide", extras={"sonar": ["some-library>=2"]})
    (missing,) = find_missing("pollect-tide", ["sonar"])
    assert str(missing) == "some-library>=2 (is 1.4)"


def test_requirement_for_another_platform_does_not_count(site: Path) -> None:
    requires = ["no-such-library; sys_platform == 'plan9'"]
    write_distribution(site, "pollect-tide", requires=requires)
    assert find_missing("pollect-tide") == []


def test_description_of_a_distribution_is_not_taken_for_what_it_requires(site: Path) -> None:
    write_distribution(site, "pollect-tide", requires=["no-such-library>=2"])
    with (site / "pollect_tide-1.0.dist-info" / "METADATA").open("a") as metadata:
        metadata.write("\n# pollect-tide\n\nRequires-Dist: no-such-other-library\nVersion: 9\n")
    installed = Installed()
    assert [part.name for part in find_missing("pollect-tide", (), installed)] == [
        "no-such-library"
    ]
    assert installed.version("pollect-tide") == "1.0"


def test_requirements_of_an_egg_count_as_those_of_a_wheel(site: Path) -> None:
    egg = site / "pollect_tide-1.0.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.2\nName: pollect-tide\nVersion: 1.0\n")
    (egg / "requires.txt").write_text("click\n\n[sonar]\nno-such-library>=2\n")
    assert Installed().version("pollect-tide") == "1.0"
    assert find_missing("pollect-tide") == []
    assert [part.name for part in find_missing("pollect-tide", ["sonar"])] == ["no-such-library"]


def test_judging_many_types_reads_each_distribution_once(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_distribution(site, "pollect-tide", requires=["click"], extras={"sonar": ["click>=99"]})
    installed = Installed()
    specs = [
        SourceSpec(f"Tide{number}", "m:C", extra="sonar" * (number % 2)) for number in range(9)
    ]
    expected = [State.EXTRA_MISSING if spec.extra else State.READY for spec in specs]
    entries = [Entry(spec, "pollect-tide", "1.0") for spec in specs]
    asked: Counter[str] = Counter()
    read = importlib_metadata.distribution

    def distribution(name: str) -> Any:
        asked[name] += 1
        return read(name)

    monkeypatch.setattr(importlib_metadata, "distribution", distribution)
    assert [judge(entry, installed).state for entry in entries] == expected
    assert asked == {"pollect-tide": 1, "click": 1}


def test_extras_of_a_requirement_count_too(site: Path) -> None:
    write_distribution(site, "pollect-base", extras={"http": ["no-such-library"]})
    write_distribution(site, "pollect-tide", requires=["pollect-base[http]"])
    assert [str(part) for part in find_missing("pollect-tide")] == ["no-such-library"]


def test_expanding_puts_the_library_in_the_place_of_an_extra_of_our_own(site: Path) -> None:
    write_distribution(site, "pollect-base", requires=["own-need"], extras={"http": ["library>=2"]})
    write_distribution(
        site,
        "pollect-tide",
        requires=["pollect-base[http]>=2"],
        extras={"sonar": ["sonar-library<3"]},
    )
    assert expand("pollect-tide", ["sonar"]) == ["library>=2", "sonar-library<3"]


def test_program_that_only_root_has_on_the_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("ldconfig") in ("/usr/sbin/ldconfig", "/sbin/ldconfig")
    assert find_program(NO_PROGRAM.name) is None


def test_type_with_a_missing_program_names_the_debian_package() -> None:
    entry = Entry(
        SourceSpec("Tide", "m:C", needs=Needs(programs=(NO_PROGRAM,))), "pollect-core", "2.0.0"
    )
    readiness = judge(entry)
    assert readiness.state is State.PROGRAM_MISSING
    assert readiness.reason == (
        "needs the program pollect-no-such-program: apt install no-such-package"
    )


def test_type_with_a_missing_extra_names_the_pip_command(site: Path) -> None:
    write_distribution(site, "pollect-tide", extras={"sonar": ["no-such-library>=2"]})
    readiness = judge(Entry(SourceSpec("Tide", "m:C", extra="sonar"), "pollect-tide", "1.0"))
    assert readiness.state is State.EXTRA_MISSING
    assert readiness.reason == "needs no-such-library>=2: pip install 'pollect-tide[sonar]'"


def test_type_for_another_platform_says_so() -> None:
    entry = Entry(SourceSpec("Tide", "m:C", platforms=("plan9",)), "pollect-core", "2.0.0")
    assert judge(entry).state is State.OTHER_PLATFORM


def test_type_with_all_it_needs_is_ready() -> None:
    entry = Entry(SourceSpec("Tide", "m:C", platforms=(sys.platform,)), "pollect-core", "2.0.0")
    assert judge(entry).state is State.READY
