"""Delivery of single messages: what is hidden, and what is said when it cannot be done."""

import sys
from pathlib import Path

import pytest

from fleet_dagster.alerting import delivery
from fleet_dagster.alerting.delivery import Address, send
from fleet_dagster.model.alerts import Destination, without_addresses
from fleet_dagster.model.errors import DeliveryError
from fleet_dagster_tests.receivers import http_receiver, mailbox


@pytest.mark.parametrize(
    ("url", "said", "told"),
    [
        ("slack://TokenA/TokenB/TokenC/#ops", "no TokenB at tokena", "no *** at tokena"),
        (
            "json://me:pass%40word@host.example:99/in/tok?to=key1",
            "host.example tok key1",
            "host.example *** ***",
        ),
        ("json://me:pass%40word@host.example/", "pass@word or pass%40word", "*** or ***"),
        (
            "mailto://u:pw1@mx.example?to=a@b.example",
            "mx.example pw1 a@b.example",
            "mx.example *** ***",
        ),
        ("json://host.example/in", "a word in a sentence", "a word in a sentence"),
    ],
)
def test_what_is_said_shows_no_part_of_an_address(url: str, said: str, told: str) -> None:
    assert Address("x", url).masked(said) == told


def test_text_around_addresses_is_kept() -> None:
    assert without_addresses("'slack://a/b?c' is 5") == "'slack://…' is 5"


def test_a_host_that_nobody_listens_at_is_named(tmp_path: Path) -> None:
    assert tmp_path.exists()
    with http_receiver() as receiver:
        url = receiver.url("/secretpath")
    with pytest.raises(DeliveryError, match="A Connection error occurred") as caught:
        send(Address("ops", url), title="t", body="b", severity="info")
    assert "127.0.0.1" in str(caught.value)
    assert "secretpath" not in str(caught.value)


def test_a_receiver_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "TIME_LIMIT_S", 0.3)
    with http_receiver() as receiver:
        receiver.patience.clear()
        with pytest.raises(DeliveryError, match=r"no answer within 0.3 s"):
            send(Address("ops", receiver.url()), title="t", body="b", severity="info")


def test_without_apprise_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery._loaded.cache_clear()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "apprise", None)
        with pytest.raises(DeliveryError, match=r"pip install 'fleet-dagster\[alerts\]'"):
            send(Address("ops", "json://x"), title="t", body="b", severity="info")


def test_the_severity_is_that_of_the_service() -> None:
    with http_receiver() as receiver:
        for severity in ("info", "warning", "critical"):
            send(Address("ops", receiver.url()), title="t", body="b", severity=severity)
        assert [m["type"] for m in receiver.got] == ["info", "warning", "failure"]


def test_mail_is_plain_text_with_umlauts() -> None:
    with mailbox() as box:
        send(Address("crew", box.url()), title="Störung", body="Ä\nß <b>", severity="info")
        (mail,) = box.got
    body = mail.get_body(("plain",))
    assert body is not None
    assert (mail["subject"], body.get_content().splitlines()) == ("Störung", ["Ä", "ß <b>"])


def test_an_address_that_the_environment_lacks_names_the_variable() -> None:
    with pytest.raises(DeliveryError, match="environment variable WHERE is not set"):
        Address.of(Destination(name="ops", url="env:WHERE"), {})
