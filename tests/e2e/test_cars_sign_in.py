"""`pollect auth MMI` and the daemon's use of it, before a simulator of both hosts."""

from pathlib import Path

from tests.e2e.command import call
from tests.simulators.vw_group import PASSWORD, USER, VIN, car_with, delivery

CONFIG = """\
stateDir: state
writer: {{type: DryRun}}
executors:
  - collection: car
    sources:
      - type: MMI
        portal: {portal}
        identity: {identity}
"""


def test_sign_in_shows_the_car_and_the_daemon_goes_on_with_it(tmp_path: Path) -> None:
    with car_with(delivery(mileage="54321")) as group:
        (tmp_path / "config.yml").write_text(CONFIG.format(**group.options))
        before = call("probe", "-c", "config.yml", "MMI", folder=tmp_path)
        assert before.returncode == 1
        assert "pollect auth MMI -c" in before.stderr + before.stdout

        answers = f"{USER}\n{PASSWORD}\n"
        done = call("auth", "MMI", "-c", "config.yml", folder=tmp_path, stdin=answers)
        assert done.returncode == 0, done.stderr
        assert f"{VIN}: {VIN}_0000.zip" in done.stdout
        assert "hush" not in done.stdout + done.stderr

        after = call("probe", "--json", "-c", "config.yml", "MMI", folder=tmp_path)
        assert (after.returncode, "54321" in after.stdout) == (0, True), after.stderr
        assert group.sign_ins == 1
