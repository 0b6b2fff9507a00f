import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from fleet_dagster.cli.main import COMMANDS, Commands, main

HEAVY = {"pandas", "pyarrow", "dagster", "sqlalchemy", "numpy", "deltalake", "pydantic", "rich"}


def _modules_after(arguments: list[str]) -> set[str]:
    program = (
        "import json, sys\n"
        "from fleet_dagster.cli.main import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr))


def test_help_loads_nothing_heavy() -> None:
    assert not _modules_after(["--help"]) & HEAVY


def test_every_command_has_its_line_in_the_list() -> None:
    for name, (_, line) in COMMANDS.items():
        command = Commands().get_command(click.Context(main), name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == line


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_an_unknown_command_is_wrong_use() -> None:
    assert CliRunner().invoke(main, ["fly"]).exit_code == 2
