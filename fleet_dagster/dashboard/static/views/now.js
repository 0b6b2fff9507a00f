// The fleet now: health, coverage, freshness, how telemetry is read, incidents, and a cell for each site.

import { course } from "../course.js";
import { h, keyed, setAttribute, setText, show } from "../dom.js";
import { count, percent, plural, score } from "../format.js";
import { legend, siteMap } from "../map.js";
import { ageOf, bandChip, empty, instant, partKeys, partsBar, pointSource, severityChip, sourceLink } from "../parts.js";
import { address } from "../routes.js";
import { touches } from "../store.js";
import { MODES, STATUSES, isSilent, sampledWords } from "../words.js";

const MOST_INCIDENTS = 4;

export function nowView(context) {
  const tiles = Object.fromEntries(TILES.map((given) => [given.name, tile(context, given)]));
  const map = siteMap(context.fleet);
  const bar = partsBar();
  tiles.health.element.append(bar.element, partKeys());
  const incidents = brief(context);
  const past = course(context, "fleet", "History of the fleet");
  const filled = h(
    "div",
    { class: "view" },
    h("section", { class: "tiles", "aria-label": "The fleet in figures" }, ...TILES.map(({ name }) => tiles[name].element)),
    incidents.element,
    h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "Sites by region"), h("span", { class: "spring" }), legend()),
      map.element,
    ),
    past.element,
  );
  const blank = nothingYet("h2");
  const element = h("div", {}, h("h1", { class: "visually-hidden" }, `${context.fleet} now`), blank, filled);
  return {
    title: "Now",
    element,
    draw(snapshot, change) {
      show(blank, snapshot.window === null);
      show(filled, snapshot.window !== null);
      if (!snapshot.window) return;
      for (const { name, figure, note, table } of TILES) {
        const own = tiles[name];
        if (name !== "freshness") setText(own.figure, figure(snapshot));
        if (name !== "freshness") setText(own.note, note(snapshot));
        pointSource(own.source, context, table, snapshot.window.partition, own.label);
      }
      if (touches(change, "health")) {
        const health = isSilent(snapshot) ? null : snapshot.health;
        bar.set(health);
        tiles.health.chip.replaceChildren(bandChip(health ? health.band : null));
      }
      if (touches(change, "window")) drawFreshness(tiles.freshness, snapshot, context);
      if (touches(change, "incidents")) incidents.draw(snapshot);
      map.draw(snapshot, change);
      past.draw(snapshot);
    },
    destroy: past.destroy,
  };
}

/** @param {"h1"|"h2"} [level] */
export function nothingYet(level = "h1") {
  return h(
    "div",
    { class: "card", hidden: true },
    empty("Nothing has been computed yet", "No window of this fleet has been computed: there is nothing to say of its health. Land telemetry with `fleet import`, and compute it with `fleet run` or `fleet up`. See Pipeline for what has arrived.", level),
  );
}

const TILES = [
  {
    name: "health",
    label: "Health",
    table: "fleet_kpi",
    figure: (s) => (isSilent(s) ? "not known" : score(s.health.score)),
    note: (s) => (isSilent(s) ? "no site reports" : healthNote(s)),
  },
  {
    name: "coverage",
    label: "Coverage",
    table: "fleet_kpi",
    figure: (s) => percent(s.coverage, 1),
    note: (s) => (isSilent(s) ? "no site reports" : "of the weight reports"),
  },
  {
    name: "sites",
    label: "Sites",
    table: "fleet_kpi",
    figure: (s) => `${count(s.online)} of ${count(s.total_sites)} online`,
    note: statusNote,
  },
  { name: "freshness", label: "Newest window", table: "fleet_kpi", figure: null, note: null },
  {
    name: "anomalies",
    label: "Anomalous sites",
    table: "anomaly_score",
    figure: (s) => (s.anomalies === null ? "not scored" : count(s.anomalies)),
    note: (s) => (s.anomalies === null ? "no baseline, or no site reports" : "above their threshold in this window"),
  },
  {
    name: "incidents",
    label: "Open incidents",
    table: "fleet_correlation",
    figure: incidentFigure,
    note: incidentNote,
  },
  {
    name: "ingestion",
    label: "Ingestion",
    table: "site_kpi",
    figure: (s) => MODES[s.ingestion_mode]?.[0] ?? "–",
    note: ingestionNote,
  },
];

function healthNote(snapshot) {
  const { health } = snapshot;
  const range = health.lowest === null ? "" : `sites ${score(health.lowest)} to ${score(health.highest)}`;
  if (snapshot.ingestion_mode !== "storm") return range;
  const error = health.stderr === null ? "error not known" : `± ${score(health.stderr)}`;
  return `${error}, ${sampledWords(snapshot)}; ${range}`;
}

function statusNote(snapshot) {
  const others = STATUSES.slice(1).map((name) => [snapshot[name], name]);
  const words = others.filter(([n]) => n > 0).map(([n, name]) => `${count(n)} ${name}`);
  if (snapshot.unmapped) words.push(`${count(snapshot.unmapped)} in no region`);
  return words.join(", ") || "all are online";
}

function windowNote({ window }) {
  const times = window.revision ? `, restated ${plural(window.revision, "time")}` : "";
  return `${window.interval_s} s long, ${window.state}${times}`;
}

/** Where nothing is scored, no incident is found: that none is open says nothing then. */
function incidentFigure(snapshot) {
  const n = snapshot.incidents.filter((one) => one.is_open).length;
  return n === 0 && snapshot.anomalies === null ? "not known" : count(n);
}

function incidentNote(snapshot) {
  const open = snapshot.incidents.filter((one) => one.is_open);
  const waiting = open.filter((one) => one.acknowledgement === null).length;
  if (!open.length) return snapshot.anomalies === null ? "no site is scored, so none is found" : "none";
  return waiting ? `${count(waiting)} not acknowledged` : "all acknowledged";
}

function ingestionNote(snapshot) {
  const words = MODES[snapshot.ingestion_mode]?.[1] ?? "";
  if (snapshot.ingestion_mode === "storm") return sampledWords(snapshot);
  const share = snapshot.published_fraction;
  return share === null || share === 1 ? words : `${words}; ${percent(share)} published now`;
}

function tile(context, { name, label, table }) {
  const source = sourceLink(context, table, null, label);
  const made = {
    label,
    source,
    figure: h("p", { class: "figure" }),
    note: h("p", { class: "note" }),
    chip: h("span"),
  };
  made.element = h(
    "div",
    { class: `card tile${name === "health" ? " main" : ""}`, "data-tile": name },
    h("h2", { class: "label" }, label, made.chip, source),
    made.figure,
    made.note,
  );
  return made;
}

function drawFreshness(own, snapshot, context) {
  const key = JSON.stringify(snapshot.window);
  if (own.key === key) return;
  own.key = key;
  own.figure.replaceChildren(ageOf(snapshot.window.end, " old"));
  own.note.replaceChildren("ended ", instant(snapshot.window.end, context.clock.now()), ` UTC; ${windowNote(snapshot)}`);
}

/** The open incidents in short. */
function brief(context) {
  const list = h("ul", { class: "brief" });
  const known = new Map();
  const all = h("a", { href: address(context.fleet, "incidents") }, "all incidents");
  const element = h(
    "section",
    { class: "card" },
    h("div", { class: "card-head" }, h("h2", {}, "Open incidents"), h("span", { class: "spring" }), all),
    list,
  );
  return {
    element,
    draw(snapshot) {
      const open = snapshot.incidents.filter((one) => one.is_open);
      show(element, open.length > 0);
      setText(all, open.length > MOST_INCIDENTS ? `all ${open.length} incidents` : "details");
      const byId = new Map(open.slice(0, MOST_INCIDENTS).map((one) => [one.incident_id, one]));
      keyed(list, known, [...byId.keys()], () => h("li"));
      for (const [id, item] of known) drawBrief(item, byId.get(id), context);
    },
  };
}

function drawBrief(item, incident, context) {
  const at = incident.root_cause_site;
  const words = `${plural(incident.sites.length, "site")} in ${incident.regions.join(", ")}${at ? `, from ${at}` : ""}`;
  const key = JSON.stringify(incident);
  if (item.dataset.key === key) return;
  setAttribute(item, "data-key", key);
  const link = h("a", { href: address(context.fleet, "incidents", incident.incident_id) }, `${incident.pattern.replace("_", " ")}, ${incident.domain}`);
  const who = incident.acknowledgement ? `acknowledged by ${incident.acknowledgement.by}` : "not acknowledged";
  item.replaceChildren(severityChip(incident.severity), link, h("span", {}, words), h("span", { class: "muted" }, "since ", ageOf(incident.since, ""), `; ${who}`));
}
