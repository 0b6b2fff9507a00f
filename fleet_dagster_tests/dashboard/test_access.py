import re

from fleet_dagster.dashboard.access import FORGOTTEN_AFTER_S, LONGEST_WAIT_S, Guesses
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Tokens
from fleet_dagster_tests.dashboard.conftest import PLANT
from fleet_dagster_tests.dashboard.serving import Served, served

SECOND = 1_000_000


def test_logging_in_gives_a_cookie_that_pages_cannot_read(dashboard: Served) -> None:
    visitor = Served(dashboard.port, dashboard.store)
    assert visitor.get("/api/session").status == 401
    answer = visitor.post("/api/login", {"token": dashboard.token})
    assert answer.status == 204
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    found = visitor.get("/api/session", Cookie=cookie.split(";")[0])
    assert found.status == 200
    assert found.json["role"] == "viewer"
    assert found.json["fleets"] == ["plant"]
    assert found.json["dagster_url"] == "http://127.0.0.1:3000"


def test_logging_out_takes_the_cookie_back(dashboard: Served) -> None:
    answer = dashboard.post("/api/logout")
    assert answer.status == 204
    assert re.search(r"fleet_token=\"\"; .*Max-Age=0", answer.headers["set-cookie"])


def test_another_fleet_s_token_sees_nothing_of_this_one(dashboard: Served) -> None:
    other = dashboard.as_("operator", fleet="elsewhere")
    assert other.get("/api/session").json["fleets"] == []
    unknown = other.get("/api/fleets/nowhere/snapshot")
    for path in ("snapshot", "events"):
        answer = other.get(f"/api/fleets/plant/{path}")
        assert answer.status == unknown.status == 404
        assert answer.json["error"].replace("plant", "nowhere") == unknown.json["error"]


def test_an_expired_token_is_told_so_and_a_revoked_one_too(dashboard: Served) -> None:
    expired = dashboard.as_("viewer", expires_at=now_us() - 1)
    assert "expired" in expired.get("/api/session").json["error"]
    tokens = Tokens(dashboard.store.control)
    (own,) = [t for t in tokens.listed() if t.state(now_us()) == "valid"]
    assert tokens.revoke(own.token_id, at=now_us())
    answer = dashboard.get("/api/session")
    assert (answer.status, "revoked" in answer.json["error"]) == (401, True)


def test_a_stream_ends_within_seconds_of_its_token(store: Store) -> None:
    with served(store, PLANT) as running:
        soon = running.as_("viewer", expires_at=now_us() + 3 * SECOND)
        revoked = running.as_("viewer")
        with soon.events() as first, revoked.events() as second:
            first.until("snapshot")
            second.until("snapshot")
            tokens = Tokens(store.control)
            found = tokens.find(revoked.token)
            assert found is not None
            tokens.revoke(found.token_id, at=now_us())
            assert second.until("end")[1] == {"reason": "revoked"}
            assert second.next() is None
            assert first.until("end")[1] == {"reason": "expired"}


def test_who_guesses_tokens_waits_longer_and_longer(dashboard: Served) -> None:
    visitor = Served(dashboard.port, dashboard.store)
    answers = [visitor.post("/api/login", {"token": "fleet_guess"}) for _ in range(7)]
    assert [a.status for a in answers[:5]] == [401] * 5
    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_token_is_in_no_answer_and_not_in_the_database(dashboard: Served) -> None:
    wrong = "fleet_" + "x" * 43
    answer = Served(dashboard.port, dashboard.store, wrong).get("/api/session")
    assert wrong.encode() not in answer.body
    file = dashboard.store.control.engine.url.database
    assert file is not None
    for name in (file, f"{file}-wal"):
        with open(name, "rb") as content:  # noqa: PTH123 - plain bytes
            assert dashboard.token.encode() not in content.read()


def test_a_program_that_shows_a_wrong_token_for_days_is_answered_and_forgiven() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(3000):
        guesses.note("10.0.0.7")
    assert guesses.wait_s("10.0.0.7") == LONGEST_WAIT_S
    now[0] = FORGOTTEN_AFTER_S + 1
    assert guesses.wait_s("10.0.0.7") == 0
