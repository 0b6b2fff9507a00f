import shutil
import socket
import time
from pathlib import Path

import pytest

from fleet_dagster.dashboard.access import FORGOTTEN_AFTER_S, REMEMBERED_ADDRESSES, Guesses
from fleet_dagster.dashboard.headers import ALWAYS
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.dashboard.conftest import PLANT
from fleet_dagster_tests.dashboard.serving import Served, eventually, served


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with a page, beside a secret."""
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>Fleet</title>")
    (folder / "main.js").write_text("export const answer = 42;\n")
    (tmp_path / "secret.txt").write_text("not for you")
    return folder


def test_files_are_served_to_anybody_with_an_etag_and_nothing_beside_them(
    store: Store, files: Path
) -> None:
    with served(store, PLANT, static=files) as running:
        page = running.get("/")
        assert (page.status, b"Fleet" in page.body) == (200, True)
        script = running.get("/static/main.js")
        assert "javascript" in script.headers["content-type"]
        again = running.get("/static/main.js", If_None_Match=script.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        for path in ("../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "/etc/passwd", "."):
            answer = running.get(f"/static/{path}")
            assert answer.status == 404, path
            assert "error" in answer.json


def test_every_answer_has_the_headers_that_keep_a_page_safe(store: Store, files: Path) -> None:
    with served(store, PLANT, static=files) as running:
        for path in ("/", "/static/main.js", "/nowhere", "/api/session", "/healthz"):
            headers = running.get(path).headers
            assert {name: headers[name] for name in ALWAYS} == ALWAYS
            is_file = path in ("/", "/static/main.js")
            assert headers["cache-control"] == ("no-cache" if is_file else "no-store")
            assert "server" not in headers


def test_what_is_not_there_is_said_in_json(dashboard: Served) -> None:
    for method, path, status in (
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/session", 405),
        ("POST", "/api/fleets/plant/snapshot", 405),
        ("GET", "/api/login", 405),
        ("GET", "/api/fleets/plant", 404),
    ):
        answer = dashboard.ask(method, path)
        assert (answer.status, list(answer.json)) == (status, ["error"])


def test_a_stream_is_not_opened_for_who_only_asks_for_its_headers(dashboard: Served) -> None:
    answer = dashboard.ask("HEAD", "/api/fleets/plant/events")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_odd_requests_do_not_end_the_server(dashboard: Served) -> None:
    for raw in (b"\x00\x01\n\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 70_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", dashboard.port), timeout=5) as odd:
            odd.sendall(raw)
            odd.recv(1000)
    assert dashboard.get("/healthz").status == 200


def test_storage_that_is_gone_is_said_and_when_it_is_back_the_picture_goes_on(
    store: Store, dashboard: Served
) -> None:
    file = Path(str(store.control.engine.url.database))
    with dashboard.events() as stream:
        _, picture, _ = stream.until("snapshot")
        assert picture["trouble"] is None
        away = file.with_suffix(".away")
        file.rename(away)
        _, update, _ = stream.first(lambda e: e[0] == "update" and e[1].get("trouble"))
        assert "is gone" in update["trouble"]["problem"]
        assert update.get("health", picture["health"]) == picture["health"]
        refused = dashboard.get("/api/session")
        assert (refused.status, "is gone" in refused.json["error"]) == (503, True)
        away.rename(file)
        _, update, _ = stream.first(lambda e: e[0] == "update" and "trouble" in e[1])
        assert update["trouble"] is None


def test_a_fleet_without_a_picture_says_why_in_every_beat(store: Store) -> None:
    with served(store, PLANT) as running:
        viewer = running.as_("viewer")
        channel = running.channels.get("plant")
        channel.feed.end()
        channel.hub.document, channel.hub.trouble = None, "the lake is gone"
        with viewer.events() as stream:
            assert stream.until("beat")[1]["trouble"] == "the lake is gone"
        answer = viewer.get("/api/fleets/plant/snapshot")
        assert (answer.status, answer.json["error"]) == (503, "the lake is gone")


def test_a_lake_that_is_lost_while_pages_are_open_is_said_in_words(
    store: Store, dashboard: Served
) -> None:
    eventually(lambda: dashboard.get("/api/fleets/plant/snapshot").status == 200)
    shutil.rmtree(store.lake.root)
    answer = dashboard.get("/api/fleets/plant/history")
    assert answer.status == 503
    assert "restore" in answer.json["error"]


def test_guesses_are_slowed_by_address_and_forgotten_in_bounded_memory() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(8):
        guesses.note("a")
    assert guesses.wait_s("a") == 8.0
    assert guesses.wait_s("b") == 0.0
    for _ in range(20):
        guesses.note("a")
    assert guesses.wait_s("a") == 30.0
    now[0] += FORGOTTEN_AFTER_S + 1
    guesses.note("a")
    assert guesses.wait_s("a") == 0.0
    for i in range(2 * REMEMBERED_ADDRESSES):
        guesses.note(f"address {i}")
    assert len(guesses._wrong) == REMEMBERED_ADDRESSES


def test_a_client_that_takes_nothing_does_not_hold_the_others_up(
    store: Store, dashboard: Served
) -> None:
    with socket.create_connection(("127.0.0.1", dashboard.port)) as hung:
        hung.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        hung.sendall(
            f"GET /api/fleets/plant/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {dashboard.token}\r\n\r\n".encode()
        )
        with dashboard.events() as stream:
            stream.until("snapshot")
            began = time.monotonic()
            for _ in range(3):
                stream.until("beat")
            assert time.monotonic() - began < 5
    assert store.history.last_number() > 0
