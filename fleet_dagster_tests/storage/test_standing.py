import shutil
from pathlib import Path

import pytest
import yaml

from fleet_dagster.model.errors import ConfigError, UnknownFleetError
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.standing import Consequence
from fleet_dagster_tests.cli.cases import content, installation, write_fleet

BROKEN = "name: plant\ninterval_s: 7\n"


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """Return an installation that has run, with fleets `plant` and `north`."""
    write_fleet(tmp_path, interval_s=60)
    write_fleet(tmp_path, "north")
    return installation(tmp_path)


def consequences(place: Installation) -> dict[str, Consequence]:
    return {one.fleet: one.consequence for one in place.standing().invalid}


def write(place: Installation, text: str, name: str = "plant.yaml") -> Path:
    path = place.fleets_folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_where_every_file_is_valid_all_stand_as_their_files_have_them(place: Installation) -> None:
    standing = place.standing()
    assert standing.invalid == ()
    assert standing.configs == place.configs()
    assert list(standing.configs) == ["north", "plant"]


def test_a_fleet_with_a_broken_file_stands_as_it_was_last_accepted(place: Installation) -> None:
    before = place.standing().configs
    write(place, BROKEN)
    standing = place.standing()
    assert standing.configs == before
    assert standing.replaced() == {"plant"}
    (one,) = standing.invalid
    assert "plant.yaml: " in str(one)
    assert "line 2: interval_s" in str(one)
    assert "\n" not in str(one)


def test_an_edit_that_is_valid_is_what_stands_from_then_on(place: Installation) -> None:
    place.standing()
    write(place, yaml.safe_dump(content(interval_s=300)))
    place.standing()
    write(place, BROKEN)
    assert place.standing().configs["plant"].interval_s == 300


@pytest.mark.parametrize("text", ["name: [", "", "name: Plant 1\n", "name: plant-1\n", "\0"])
def test_a_broken_file_that_names_no_fleet_is_known_by_what_it_defined(
    place: Installation, text: str
) -> None:
    path = place.fleets_folder / "plant.yaml"
    other = path.rename(path.with_name("another.yaml"))
    place.standing()
    other.write_text(text, encoding="utf-8")
    assert consequences(place) == {"plant": Consequence.ACCEPTED}
    assert place.file_of("plant") == other
    with pytest.raises(ConfigError, match=r"another\.yaml"):
        place.config("plant")


def test_a_broken_file_that_was_never_accepted_is_left_out(place: Installation) -> None:
    write(place, BROKEN)
    assert list(place.standing().configs) == ["north"]
    assert consequences(place) == {"plant": Consequence.LEFT_OUT}


def test_a_second_file_for_a_fleet_does_not_count(place: Installation) -> None:
    write(place, yaml.safe_dump(content(interval_s=300)), "a_copy.yaml")
    assert place.standing().configs["plant"].interval_s == 60
    assert consequences(place) == {"plant": Consequence.OTHER_FILE}
    with pytest.raises(ConfigError, match=r"a_copy\.yaml(.|\n)*another file too"):
        place.config("plant")
    assert place.config("north").name == "north"


def test_a_broken_copy_does_not_replace_a_valid_file(place: Installation) -> None:
    place.standing()
    write(place, BROKEN, "a_copy.yaml")
    write(place, yaml.safe_dump(content(interval_s=300)))
    assert place.standing().configs["plant"].interval_s == 300
    assert consequences(place) == {"plant": Consequence.OTHER_FILE}


def test_a_fleet_is_read_strictly_but_others_may_be_broken(place: Installation) -> None:
    place.standing()
    write(place, BROKEN)
    assert place.config("north").name == "north"
    with pytest.raises(ConfigError, match="line 2: interval_s"):
        place.config("plant")
    with pytest.raises(ConfigError, match="line 2: interval_s"):
        place.configs()
    with pytest.raises(UnknownFleetError, match=r"north, plant; invalid files.*plant\.yaml"):
        place.config("south")


def test_a_fleet_whose_file_is_gone_is_gone(place: Installation) -> None:
    place.standing()
    (place.fleets_folder / "plant.yaml").unlink()
    assert list(place.standing().configs) == ["north"]


def test_a_renamed_fleet_does_not_come_back_under_its_old_name(place: Installation) -> None:
    place.standing()
    write(place, yaml.safe_dump(content(name="works")))
    place.standing()
    write(place, "name: [")
    assert list(place.standing().configs) == ["north", "works"]


def test_a_link_to_nowhere_stops_nothing(place: Installation) -> None:
    (place.fleets_folder / ".#plant.yaml").symlink_to("nobody@nowhere")
    (place.fleets_folder / "folder.yaml").mkdir()
    assert list(place.standing().configs) == ["north", "plant"]
    assert place.config("plant").name == "plant"
    assert place.file_of("plant") == place.fleets_folder / "plant.yaml"


def test_a_home_that_cannot_be_written_to_stops_nothing(place: Installation) -> None:
    (place.home / "accepted").write_text("", encoding="utf-8")
    assert list(place.standing().configs) == ["north", "plant"]
    write(place, BROKEN)
    assert list(place.standing().configs) == ["north"]


def test_looking_at_a_new_installation_makes_no_home(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    place = installation(tmp_path)
    shutil.rmtree(place.home)
    assert list(place.standing().configs) == ["plant"]
    assert not place.home.exists()


def test_nothing_is_written_where_nothing_changed(place: Installation) -> None:
    place.standing()
    kept = sorted((place.home / "accepted").rglob("*"))
    before = [(path, path.stat().st_ino) for path in kept]
    place.standing()
    assert [(p, p.stat().st_ino) for p in sorted((place.home / "accepted").rglob("*"))] == before
