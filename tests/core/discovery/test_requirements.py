"""What is missing, found from metadata and the PATH."""

import sys
from pathlib import Path

import pytest

from pollect.discovery.entry import Entry
from pollect.discovery.requirements import State, expand, find_missing, find_program, judge
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
