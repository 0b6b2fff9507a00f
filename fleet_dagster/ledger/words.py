"""What is said of a ledger, on a terminal and in Dagster."""

from collections.abc import Sequence

from fleet_dagster.ledger.findings import Report
from fleet_dagster.ledger.state import LedgerState
from fleet_dagster.ledger.witness.client import Answer

_LOST = "gone: nothing can be recorded until they are put back"
_KEYLESS = "no keys: nothing is recorded. Make some with `fleet keys init {fleet}`"


def verdict_lines(report: Report) -> list[str]:
    """Say what a verification has shown, the verdict first."""
    if report.verdict == "empty":
        return [f"EMPTY: {report.origin} has no entries, so there is nothing to verify."]
    lines = [_verdict(report), f"  ledger      {report.origin}"]
    lines += [f"  entries     {report.size:,}, root {report.root[:16] or 'unknown'}…"]
    lines += [f"  windows     {report.n_windows:,} in {report.n_rows:,} rows"]
    lines += [f"  checkpoints {report.n_checkpoints:,}{_pinned(report)}"]
    lines += [f"  witnesses   {_vouched(report)}"]
    if report.n_expired:
        lines.append(f"  expired     {report.n_expired:,} windows, as the ledger says")
    if report.n_pending:
        lines.append(f"  pending     {report.n_pending:,} windows written since")
    return lines


def state_rows(state: LedgerState) -> list[tuple[str, str]]:
    """Return how a ledger stands, as names and values."""
    signed = "never" if state.checkpoint_at is None else f"{state.checkpoint_at:%Y-%m-%d %H:%M:%S}"
    rows = [
        ("ledger", state.origin),
        ("keys", _keys(state)),
        ("entries", f"{state.size:,}"),
        ("root", state.root or "-"),
        ("signed", f"{signed} UTC" if state.checkpoint_at else signed),
        ("pending", _pending(state.n_pending)),
        ("vouched for", _quorum(state)),
    ]
    return rows + [(f"witness {w.name}", _behind(w.size, w.n_behind)) for w in state.witnesses]


def state_table(state: LedgerState, answers: Sequence[Answer]) -> str:
    """Return how a ledger stands as a table in Markdown, with what the witnesses answered."""
    rows = [*state_rows(state), *((f"answer of {a.witness}", answer_text(a)) for a in answers)]
    lines = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def answer_text(answer: Answer) -> str:
    """Say what a witness answered."""
    return f"{answer.state}: {answer.detail}" if answer.detail else answer.state


def _verdict(report: Report) -> str:
    if report.verdict == "invalid":
        things = (
            "1 thing is not as it"
            if report.n_findings == 1
            else f"{report.n_findings:,} things are not as they"
        )
        return f"INVALID: {things} must be. The first: {report.first_bad}"
    if report.verdict == "valid":
        return "VALID: nothing was changed, and enough witnesses have vouched for all of it."
    if report.n_needed:
        return (
            f"UNWITNESSED: nothing contradicts it, but {report.n_needed} witnesses must vouch, and they have vouched "
            f"for {report.witnessed_size:,} of {report.size:,} entries."
        )
    return (
        "UNWITNESSED: nothing contradicts it, but nobody else has vouched for it: whoever has the ledger's keys, its database "
        "and its pin could have rewritten all of it."
    )


def _pinned(report: Report) -> str:
    return f", the one of size {report.pinned_size:,} was seen before" if report.pinned_size else ""


def _vouched(report: Report) -> str:
    if not report.witnesses:
        return "none has vouched" if report.n_needed else "none are configured"
    names = ", ".join(f"{n} ({at:%Y-%m-%d %H:%M:%S} UTC)" for n, at in report.witnesses.items())
    return f"{names}, for {report.witnessed_size:,} entries; {report.n_needed} needed"


def _keys(state: LedgerState) -> str:
    if state.has_keys:
        return "there"
    return _LOST if state.has_begun else _KEYLESS.format(fleet=state.fleet)


def _quorum(state: LedgerState) -> str:
    if not state.n_needed:
        return "by nobody: no witnesses are configured"
    if not state.size:
        return f"nothing yet; {state.n_needed} witnesses are needed"
    whole = "all of it" if state.is_witnessed else f"{state.witnessed_size:,} entries"
    return f"{whole}, by {state.n_needed} witnesses or more"


def _pending(n_commits: int) -> str:
    if not n_commits:
        return "nothing"
    return "1 commit of fleet_kpi" if n_commits == 1 else f"{n_commits:,} commits of fleet_kpi"


def _behind(size: int, n_behind: int) -> str:
    return f"{size:,} entries" + (f", {n_behind:,} behind" if n_behind else "")
