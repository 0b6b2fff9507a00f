import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette

from fleet_dagster.model.errors import ServingError
from fleet_dagster.serving import listening
from fleet_dagster.storage.store import Store
from fleet_dagster.telemetry.exposition import OPENMETRICS, Exposition
from fleet_dagster.telemetry.routes import metrics_route
from fleet_dagster.telemetry.serving import application, web_server
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.telemetry.busy_fleet import families

CONFIG = at.coarse()


@pytest.fixture
def exposition(tmp_path: Path) -> Iterator[Exposition]:
    with Store.at(at.new_home(tmp_path)) as store:
        yield Exposition(store, lambda: {"plant": CONFIG})


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    server = web_server(app)
    with listening("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def asked(url: str, **headers: str) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def test_prometheus_is_given_the_format_that_it_asks_for(exposition: Exposition) -> None:
    with served(application(exposition)) as url:
        status, kind, body = asked(f"{url}/metrics", Accept=OPENMETRICS)
        assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
        names = {f.name for f in families(body.decode())}
        assert "fleet_scrape_failed" in names
        assert asked(f"{url}/metrics")[1].startswith("text/plain")
        assert b"/metrics" in asked(url)[2]
        assert asked(f"{url}/other")[0] == 404


def test_with_a_token_only_who_sends_it_is_answered(exposition: Exposition) -> None:
    with served(application(exposition, "s3cret")) as url:
        assert asked(f"{url}/metrics")[0] == 401
        assert asked(f"{url}/metrics", Authorization="Bearer wrong")[0] == 401
        assert asked(f"{url}/metrics", Authorization="Basic s3cret")[0] == 401
        assert asked(f"{url}/metrics", Authorization="Bearer s3cret")[0] == 200
        assert asked(f"{url}/metrics", Authorization="bearer s3cret")[0] == 200


def test_many_askers_at_once_are_all_answered(exposition: Exposition) -> None:
    with served(application(exposition)) as url:
        found: list[int] = []
        askers = [
            threading.Thread(target=lambda: found.append(asked(f"{url}/metrics")[0]))
            for _ in range(8)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(20)
    assert found == [200] * 8


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with listening("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ServingError, match=rf"port {port} of 127.0.0.1.*--port"):
            listening("127.0.0.1", port)


def test_another_application_decides_who_sees_which_fleets(exposition: Exposition) -> None:
    app = Starlette(routes=[metrics_route(exposition, lambda _request: {"harbour"})])
    with served(app) as url:
        status, _, body = asked(f"{url}/metrics")
    assert status == 200
    assert b"plant" not in body
