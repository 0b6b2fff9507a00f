"""What operators do: acknowledge incidents, end storms. Each is recorded with the token, in the same transaction."""

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fleet_dagster.alerting.acknowledging import acknowledge_incident, incident_sites
from fleet_dagster.dashboard.access import Refused
from fleet_dagster.dashboard.bodies import json_body, refuse_simple
from fleet_dagster.dashboard.channels import Channel
from fleet_dagster.dashboard.context import came_in, dashboard_of
from fleet_dagster.model.alerts import TRUTHS
from fleet_dagster.nodes.dashboard_sink import instant_text
from fleet_dagster.storage.alerts import Acknowledgement
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.operator_actions import actions_of, record_action
from fleet_dagster.storage.status import first_unwritten
from fleet_dagster.storage.store import Store
from fleet_dagster.storage.tokens import Token

LONGEST_NOTE = 4_000
Body = dict[str, object]


async def acknowledge(request: Request) -> Response:
    """Record what an operator says of an incident."""
    refuse_simple(request)
    return await run_in_threadpool(_acknowledged, request, await json_body(request))


async def end_storm(request: Request) -> Response:
    """End the storm that is on."""
    refuse_simple(request)
    await json_body(request)
    return await run_in_threadpool(_storm_ended, request)


def actions(request: Request) -> Response:
    """Return what operators did of late, the newest first."""
    _, channel = came_in(request)
    found = actions_of(dashboard_of(request).store.control, channel.config.name)
    return JSONResponse(
        [
            {
                "done_at": instant_text(one.done_at),
                "done_by": one.done_by,
                "token_id": one.token_id,
                "action": one.action,
                "subject": one.subject,
                "detail": dict(one.detail),
            }
            for one in found
        ]
    )


def _acknowledged(request: Request, body: Body) -> Response:
    token, channel = _operator(request)
    store, config, at = dashboard_of(request).store, channel.config, now_us()
    incident_id = request.path_params["incident_id"]
    said = _said(store, channel, incident_id, token, body)
    told = {"note": said.note, "truth": said.truth, "cause": said.cause}
    detail = {name: value for name, value in told.items() if value is not None}

    def also(tx: sa.Connection) -> None:
        name = config.name
        record_action(
            tx, token, "acknowledge", fleet=name, subject=incident_id, detail=detail, at=at
        )

    alert = acknowledge_incident(store, config, incident_id, said, at=at, also=also)
    if alert is None:
        raise _unknown_incident(incident_id)
    channel.feed.renew()
    shown = {
        "by": said.by,
        "at": instant_text(at),
        "truth": alert.truth or "unknown",
        "note": alert.note,
    }
    return JSONResponse({"acknowledgement": shown, "alert_id": alert.alert_id})


def _storm_ended(request: Request) -> Response:
    token, channel = _operator(request)
    store, config, now = dashboard_of(request).store, channel.config, now_us()
    episode_id, current = request.path_params["episode_id"], store.storms.open(config.name)
    if current is None or current.episode_id != episode_id:
        raise Refused(404, f"storm {episode_id[:64]!r} is not on. Look again: it may have ended")
    interval = config.interval_s * 1_000_000
    at = max(first_unwritten(store, config, now), current.start + interval)

    def also(tx: sa.Connection) -> None:
        name, detail = config.name, {"end": instant_text(at)}
        record_action(tx, token, "end_storm", fleet=name, subject=episode_id, detail=detail, at=now)

    ended = store.storms.end(config.name, at, by=token.name, also=also)
    channel.feed.renew()
    return JSONResponse({"episode_id": ended.episode_id, "end": instant_text(ended.end)})


def _operator(request: Request) -> tuple[Token, Channel]:
    token, channel = came_in(request)
    if token.role != "operator":
        raise Refused(
            403,
            f"token {token.name!r} is a viewer's, and this needs an operator's. Ask for one: "
            "`fleet tokens create NAME --role operator`",
        )
    return token, channel


def _said(
    store: Store, channel: Channel, incident_id: str, token: Token, body: Body
) -> Acknowledgement:
    """Read what an operator says.

    Raises
    ------
    Refused
        It cannot be said so, or there is no such incident.
    """
    unknown = sorted(body.keys() - {"truth", "note", "cause"})
    if unknown:
        raise Refused(400, f"found {unknown}, expected truth, note, cause. Leave the others out")
    note, cause, truth = (_text(body, name) for name in ("note", "cause", "truth"))
    if truth is not None and truth not in TRUTHS:
        raise Refused(400, f"truth is {truth[:40]!r}, expected one of {', '.join(TRUTHS)}")
    sites = incident_sites(store, channel.config, incident_id)
    if sites is None:
        raise _unknown_incident(incident_id)
    if cause is not None and cause not in sites:
        raise Refused(
            400, f"cause {cause[:64]!r} is no site of the incident. Name one of its sites"
        )
    return Acknowledgement(token.name, note, truth, cause)


def _text(body: Body, name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > LONGEST_NOTE:
        raise Refused(
            400, f"{name} is no text of at most {LONGEST_NOTE:,} characters. Say it in that many"
        )
    return value


def _unknown_incident(incident_id: str) -> Refused:
    return Refused(
        404, f"incident {incident_id[:64]!r} is not known. Look again: it may be withdrawn"
    )
