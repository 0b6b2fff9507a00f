"""`fleet verify`: whether a fleet's history is what it was."""

import json
from pathlib import Path

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.terminal import console, counted, json_option, note, print_json, progress_bar
from fleet_dagster.core.windows import SECOND, iso
from fleet_dagster.ledger.findings import Report
from fleet_dagster.ledger.policy import NO_QUORUM, Policy
from fleet_dagster.ledger.proof import Proof
from fleet_dagster.ledger.proof import verify as verify_proof
from fleet_dagster.ledger.verify import LAST_S, Verification
from fleet_dagster.ledger.words import verdict_lines
from fleet_dagster.model.errors import LedgerError

MOST = 10
"""Findings that people are told one by one."""
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("fleet", required=False)
@click.option(
    "--policy",
    type=FILE,
    help="Keys to trust, as `fleet keys show --policy` prints them. [default: the fleet's own, and its witnesses]",
)
@click.option(
    "--proof",
    type=FILE,
    help="Verify the proof of one window, with nothing but the keys of --policy; no fleet is needed.",
)
@click.option(
    "--pin",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the checkpoint that you have seen last; it is made, and moves on. [default: the one beside the keys]",
)
@json_option
@installation_options
@click.pass_obj
def verify(
    place: Place,
    fleet: str | None,
    *,
    policy: Path | None,
    proof: Path | None,
    pin: Path | None,
    as_json: bool,
) -> None:
    """Check a fleet's ledger, offline: every stored byte, root and signature, who vouched, and the rows of fleet_kpi.

    Exit code 0 if nothing is wrong and enough witnesses have vouched, or none are asked for;
    1 otherwise, with the first bad entry and its window. The newest checkpoint is remembered beside the keys, and the next time the ledger must contain it.
    """
    trusted = None if policy is None else Policy.parse(policy.read_bytes(), what=str(policy))
    if proof is not None:
        if fleet is not None:
            message = "A proof is verified without a fleet: name one of the two."
            raise click.UsageError(message)
        if trusted is None:
            message = "A proof is worth what the keys are worth: name those that you trust with --policy FILE."
            raise click.UsageError(message)
        _verify_proof(proof, trusted, as_json=as_json)
        return
    if fleet is None:
        message = "Name the fleet to verify, or a proof with --proof FILE."
        raise click.UsageError(message)
    config = place.installation().config(fleet)
    with progress_bar("entries") as bar:
        report = Verification.of(
            place.store(),
            config,
            policy=trusted,
            pin=pin,
            progress=lambda what, done, total: bar.update(done, total, what),
        ).run()
    if as_json:
        print_json(_plain(report))
    else:
        _print(report)
    if report.verdict in ("invalid", "empty") or (
        report.verdict == "unwitnessed" and report.n_needed
    ):
        raise SystemExit(1)


def _verify_proof(path: Path, trusted: Policy, *, as_json: bool) -> None:
    try:
        proven = verify_proof(Proof.parse(path.read_bytes(), what=str(path)), None, trusted)
    except LedgerError as error:
        if as_json:
            print_json({"verdict": "invalid", "problem": str(error)})
        else:
            console().print(f"NOT PROVEN: {error}", soft_wrap=True, markup=False)
        raise SystemExit(1) from error
    checkpoint, witnesses = proven.judgement.checkpoint, proven.judgement.witnesses
    if as_json:
        print_json(
            {
                "verdict": "unwitnessed" if trusted.quorum == NO_QUORUM else "valid",
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "index": proven.index,
                "witnesses": {name: _instant(at) for name, at in witnesses.items()},
                "entry": _read(proven.entry),
            }
        )
        return
    names = ", ".join(f"{name} ({_instant(at)})" for name, at in witnesses.items())
    note(f"PROVEN: {_subject(proven.entry)}entry {proven.index} of {checkpoint.origin},")
    note(f"  as it was when it had {counted(checkpoint.size, 'entry')}.")
    note(f"Vouched for by {names}." if names else "Nobody vouched for it but the ledger itself.")
    click.echo(proven.entry)


def _read(entry: bytes) -> object:
    """Return what an entry says; as text where it is another log's, and no JSON."""
    try:
        return json.loads(entry)
    except (ValueError, RecursionError):
        return entry.decode("utf-8", "replace")


def _instant(posix: int) -> str:
    return iso(min(posix, LAST_S) * SECOND)


def _subject(content: bytes) -> str:
    """Say which window an entry is about, in front of its number; nothing where it is about none."""
    try:
        entry = json.loads(content)
        return (
            f"the row of window {entry['row']['window_start']}, revision {entry['revision']}, is "
        )
    except (
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ):  # another ledger's entry may be anything
        return ""


def _print(report: Report) -> None:
    screen = console()
    for line in verdict_lines(report):
        screen.print(line, soft_wrap=True, markup=False)
    told = report.findings[:MOST]
    for finding in told:
        screen.print(f"  - {finding.kind}: {finding}", soft_wrap=True, markup=False)
    if report.n_findings > len(told):
        more = counted(report.n_findings - len(told), "finding")
        screen.print(f"  and {more} more; --json names the first {len(report.findings)}")


def _plain(report: Report) -> dict[str, object]:
    findings = [
        {
            "kind": f.kind,
            "entry": f.number,
            "window_start": None if f.window_start is None else iso(f.window_start),
            "problem": f.problem,
        }
        for f in report.findings
    ]
    return {
        name: findings if name == "findings" else getattr(report, name)
        for name in Report.__dataclass_fields__
    }
