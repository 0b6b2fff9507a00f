// Incidents, open and lately closed: what belongs together, where it began, and who knows of it.

import { exportAddress } from "../api.js";
import { acknowledgeDialog } from "../dialogs.js";
import { h, keyed, setText, show } from "../dom.js";
import { percent, plural } from "../format.js";
import { ageOf, csvLink, empty, instant, regionAddress, severityChip, chip, siteLink, sourceLink } from "../parts.js";
import { touches } from "../store.js";
import { TRUTHS } from "../words.js";

const MOST_SITES = 12;

export function incidentsView(context) {
  const open = group("Open");
  const closed = group("Closed in the last day");
  const none = h("div", { class: "card", hidden: true });
  const csv = csvLink(exportAddress(context.fleet, "incidents"), "Incidents");
  const isOperator = context.session.role === "operator";
  const hint = h("p", { class: "muted small" }, isOperator ? "" : "Acknowledging an incident needs an operator's token; yours may only look.");
  let wanted = context.route.id;
  return {
    title: "Incidents",
    element: h(
      "div",
      { class: "view" },
      h("div", { class: "card-head" }, h("h1", {}, "Incidents"), h("span", { class: "spring" }), hint, csv),
      none,
      open.element,
      closed.element,
    ),
    draw(snapshot, change) {
      if (!touches(change, "incidents", "anomalies")) return;
      const [isScored, all] = [snapshot.anomalies !== null, snapshot.incidents];
      show(none, all.length === 0);
      none.replaceChildren(isScored ? empty("No incidents", "None is open, and none was closed in the last day.") : empty("No incidents, and none could be found", "No site is scored in the newest window: baselines are missing, or no site reports."));
      open.draw(context, all.filter((one) => one.is_open), isOperator);
      closed.draw(context, all.filter((one) => !one.is_open), isOperator);
      if (wanted) wanted = jumpTo(wanted) ? null : wanted;
    },
  };
}

function jumpTo(id) {
  const found = document.getElementById(`incident-${id}`);
  found?.scrollIntoView({ block: "center" });
  found?.querySelector("a, button")?.focus({ preventScroll: true });
  return Boolean(found);
}

function group(title) {
  const list = h("div", { class: "incident-list" });
  const n = h("span", { class: "muted" });
  const element = h("section", { class: "stack" }, h("h2", {}, `${title} `, n), list);
  const known = new Map();
  return {
    element,
    draw(context, incidents, isOperator) {
      show(element, incidents.length > 0);
      setText(n, String(incidents.length));
      const byId = new Map(incidents.map((one) => [one.incident_id, one]));
      keyed(list, known, [...byId.keys()], (id) => h("article", { id: `incident-${id}` }));
      for (const [id, element_] of known) drawIncident(context, element_, byId.get(id), isOperator);
    },
  };
}

function drawIncident(context, element, incident, isOperator) {
  const key = JSON.stringify(incident);
  if (element.dataset.key === key) return;
  const hadFocus = element.contains(document.activeElement);
  element.dataset.key = key;
  element.className = `card incident ${incident.is_open ? incident.severity : "closed"}`;
  const title = `${incident.pattern.replaceAll("_", " ")}, ${incident.domain}`;
  const buttons = isOperator ? [acknowledgeButton(context, incident, title)] : [];
  element.replaceChildren(
    h(
      "h3",
      {},
      severityChip(incident.severity),
      h("span", {}, title),
      incident.is_open ? null : chip("gone", "✓", "closed"),
      sourceLink(context, "fleet_correlation", incident.partition, title),
    ),
    h("dl", {}, ...facts(context, incident).flatMap(([term, ...content]) => [h("dt", {}, term), h("dd", {}, ...content)])),
    h("div", { class: "row" }, ...acknowledged(context, incident), h("span", { class: "spring" }), ...buttons),
  );
  if (hadFocus) element.querySelector("button")?.focus();
}

function facts(context, incident) {
  const { root_cause_site: site, root_cause_kpi: kpi } = incident;
  const began = site
    ? [siteLink(context.fleet, site), kpi ? `, ${kpi}` : ""]
    : [`not determined${incident.candidates.length ? "; candidates: " : ""}`, ...some(context, incident.candidates)];
  const regions = incident.regions.flatMap((one, i) => [i ? ", " : "", h("a", { href: regionAddress(context.fleet, one) }, one)]);
  const now = context.clock.now();
  return [
    ["Since", instant(incident.since, now), " UTC, ", ageOf(incident.since)],
    ["Newest change", instant(incident.changed, now), " UTC"],
    ["Began at", ...began],
    ["Confidence", `${percent(incident.confidence)} that ${incident.sites.length === 1 ? "it has a fault" : "they share one cause"}`],
    [plural(incident.sites.length, "site"), h("span", { class: "some-sites" }, ...some(context, incident.sites))],
    [incident.regions.length === 1 ? "Region" : "Regions", ...regions],
  ];
}

function some(context, sites) {
  const links = sites.slice(0, MOST_SITES).map((one) => h("span", {}, siteLink(context.fleet, one)));
  const rest = sites.length - MOST_SITES;
  return rest > 0 ? [...links, h("span", { class: "muted" }, `and ${rest} more`)] : links;
}

function acknowledged(context, incident) {
  const said = incident.acknowledgement;
  if (!said) return [h("span", { class: "muted" }, "Nobody has acknowledged it.")];
  const truth = said.truth === "unknown" ? "" : `: ${TRUTHS[said.truth].split(":")[0].toLowerCase()}`;
  const note = said.note ? h("span", {}, `“${said.note}”`) : null;
  return [h("span", {}, `✓ ${said.by} acknowledged it `, ageOf(said.at), truth), note].filter(Boolean);
}

function acknowledgeButton(context, incident, title) {
  const verb = incident.acknowledgement ? "Say more…" : "Acknowledge…";
  const open = () => acknowledgeDialog(context.fleet, incident);
  return h("button", { type: "button", onclick: open, "aria-label": `${verb} ${title}` }, verb);
}
