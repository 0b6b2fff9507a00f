// One site: how it stands, its health and anomaly score over time, and its KPIs beside their baseline.

import { exportAddress, siteCourse } from "../api.js";
import { Chart } from "../charts.js";
import { Loader } from "../course.js";
import { h, keyed, setText, show } from "../dom.js";
import { count, percent, score, seconds, signed } from "../format.js";
import { ageOf, csvLink, empty, instant, pointSource, regionAddress, severityChip, siteLink, sourceLink, statusChip } from "../parts.js";
import { LASTS as ALL_LASTS, ranges } from "../ranges.js";
import { address, replaceAsked } from "../routes.js";
import { siteAt, touches } from "../store.js";
import { sorted } from "../table.js";
import { rankedWords } from "./site_columns.js";

const GROUP = "site";
const WORST = 12;
/** A site's rows lie among those of a thousand others: two days are read at most. */
const { "7 d": _, ...LASTS } = ALL_LASTS;
const HEALTH = { name: "health", label: "health when ranked", colour: "--chart-line" };
const ANOMALY = { name: "anomaly", label: "anomaly score", colour: "--chart-2" };
const LAST_SITE = "fleet.site";

export function siteView(context) {
  const { id } = context.route;
  if (!id) return pickSite(context);
  remember(context.fleet, id);
  return oneSite(context, id);
}

/** Address of the site that was looked at last; of the list where there is none. */
export function lastSite(fleet) {
  try {
    const [own, site] = JSON.parse(sessionStorage.getItem(LAST_SITE) ?? "[]");
    if (own === fleet) return address(fleet, "site", site);
  } catch {
    // Storage may be forbidden; then a site is picked.
  }
  return address(fleet, "site");
}

function remember(fleet, site) {
  try {
    sessionStorage.setItem(LAST_SITE, JSON.stringify([fleet, site]));
  } catch {
    // Storage may be forbidden; then a site is picked each time.
  }
}

function pickSite(context) {
  const list = h("ul", { class: "brief" });
  const known = new Map();
  return {
    title: "Site",
    element: h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h1", {}, "Which site?")),
      h("p", { class: "muted" }, "Type a part of its name into the search above ( / ), or take one of those with the lowest health."),
      list,
    ),
    draw(snapshot, change) {
      if (!touches(change, "sites")) return;
      const rows = snapshot.sites.site_id.map((_, row) => siteAt(snapshot.sites, row));
      const column = { key: "health", value: (row) => row.health };
      const worst = sorted(rows, [column], { key: "health", isDown: false }).slice(0, WORST);
      const byId = new Map(worst.map((row) => [row.site_id, row]));
      keyed(list, known, [...byId.keys()], (site) => h("li", {}, siteLink(context.fleet, site), h("span"), h("span", { class: "muted" })));
      for (const [site, item] of known) {
        const row = byId.get(site);
        item.children[1].replaceChildren(statusChip(row.status));
        setText(item.children[2], `health ${score(row.health)}`);
      }
    },
  };
}

function oneSite(context, id) {
  const facts = factsOf(context, id);
  const range = ranges(context.route.asked, LASTS, (asked) => {
    replaceAsked(context.route, asked);
    loader.now(span());
  });
  const onSpan = (from, to) => range.choose({ from, to });
  const health = new Chart({ label: "Health", height: 150, lines: [HEALTH], range: [0, 1], group: GROUP, onSpan });
  const anomaly = new Chart({ label: "Anomaly score: 0.5 is the level that chance exceeds once in 100 windows of the fleet", height: 130, lines: [ANOMALY], range: [0, 1], group: GROUP, onSpan });
  const sparks = h("div", { class: "sparks" });
  /** @type {Map<string, Element>} */
  const boxes = new Map();
  const charts = new Map();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const noKpis = h("p", { class: "muted", hidden: true }, "No KPI of this site was read in this span.");
  const csv = csvLink("#", `Site ${id}, the span on screen`);
  const source = sourceLink(context, "site_kpi", null, "KPIs");
  const loader = new Loader((asked, signal) => siteCourse(context.fleet, id, asked, signal), take, fail);
  let end = null;
  const span = () => {
    const asked = range.span();
    csv.href = exportAddress(context.fleet, "site", { ...asked, site: id });
    return asked;
  };

  function take(answer) {
    show(problem, false);
    facts.heard(answer.site);
    const kpis = new Map(answer.kpis.map((one) => [one.name, one]));
    for (const [name, chart] of charts) {
      if (kpis.has(name)) continue;
      chart.destroy();
      charts.delete(name);
    }
    keyed(sparks, boxes, [...kpis.keys()], (name) => spark(kpis.get(name)));
    for (const [name, one] of kpis) charts.get(name).set(courseOf(one));
    show(noKpis, kpis.size === 0);
    setSeries(health, answer.health);
    setSeries(anomaly, answer.anomaly);
  }

  function spark(one) {
    const title = h("h3", {}, one.label ?? one.name);
    const chart = new Chart({ label: one.label ?? one.name, unit: one.unit, height: 96, lines: [{ label: one.name, colour: "--chart-line" }], group: GROUP, onSpan, title });
    charts.set(one.name, chart);
    return h("div", { class: "card spark" }, chart.element);
  }

  function fail(words) {
    problem.textContent = words;
    show(problem, true);
  }

  const blank = h("div", { class: "card", hidden: true }, empty(`There is no site ${id}`, "Nothing of that name is in the newest window.", "h1"));
  const filled = h(
    "div",
    { class: "view" },
    facts.element,
    h(
      "section",
      { class: "card stack" },
      h("div", { class: "card-head" }, h("h2", {}, "Health and anomaly score"), h("span", { class: "spring" }), csv),
      range.element,
      problem,
      health.element,
      anomaly.element,
    ),
    h(
      "section",
      { class: "stack", "aria-label": "KPIs" },
      h("div", { class: "row" }, h("h2", {}, "KPIs"), source, h("span", { class: "muted small" }, "The band is what its baseline holds for normal.")),
      noKpis,
      sparks,
    ),
  );
  return {
    title: `Site ${id}`,
    element: h("div", {}, blank, filled),
    draw(snapshot, change) {
      const row = snapshot.sites.site_id.indexOf(id);
      show(blank, row < 0);
      show(filled, row >= 0);
      if (row < 0) return;
      if (touches(change, "sites", "incidents")) facts.draw(siteAt(snapshot.sites, row), snapshot);
      if (!snapshot.window || snapshot.window.end === end) return;
      const isFirst = end === null;
      end = snapshot.window.end;
      pointSource(source, context, "site_kpi", snapshot.window.partition, "KPIs");
      range.reach(seconds(end));
      if (isFirst) loader.now(span());
      else if (range.follows()) loader.soon(span);
    },
    destroy() {
      loader.stop();
      [health, anomaly, ...charts.values()].forEach((chart) => chart.destroy());
    },
  };
}

function courseOf(one) {
  return { t: one.t, lines: [one.values], low: one.low, high: one.high };
}

function setSeries(chart, series) {
  show(chart.element, Boolean(series));
  if (series) chart.set(courseOf(series));
}

const FACTS = [
  ["Health", (site) => score(site.health), "site_ranking"],
  ["Ranked", rankedWords, null],
  ["Rank in fleet", (site) => count(site.rank_in_fleet), "site_ranking"],
  ["Rank in region", (site) => count(site.rank_in_region), "site_ranking"],
  ["z in fleet", (site) => signed(site.modified_z_fleet), "site_ranking"],
  ["z in region", (site) => signed(site.modified_z_region), "site_ranking"],
  ["Outlier", (site) => (site.is_persistent_outlier ? "! persistent" : site.is_outlier ? "in this window" : "no"), "site_ranking"],
  ["Anomaly score", (site) => anomalyWords(site), "anomaly_score"],
  ["Uptime", (site) => percent(site.uptime_pct === null ? null : site.uptime_pct / 100, 1), "site_kpi"],
  ["Faults", (site) => count(site.fault_count), "site_kpi"],
  ["Published as", (site) => site.disposition.replaceAll("_", " "), "site_kpi"],
];

function factsOf(context, id) {
  const status = h("span");
  const region = h("a");
  const incidents = h("div", { class: "row" });
  const heard = h("p", { class: "muted" });
  const values = FACTS.map(([label, , tableName]) => ({ value: h("span"), source: tableName && sourceLink(context, tableName, null, label) }));
  const element = h(
    "section",
    { class: "card stack" },
    h(
      "div",
      { class: "row" },
      h("h1", { class: "crumbs" }, h("a", { href: address(context.fleet, "regions") }, "Regions"), h("span", { class: "muted" }, "/"), region, h("span", { class: "muted" }, "/"), h("span", {}, id)),
      status,
    ),
    h("dl", { class: "facts" }, ...FACTS.map(([label], i) => h("div", {}, h("dt", {}, label), h("dd", {}, values[i].value, " ", values[i].source)))),
    heard,
    incidents,
  );
  return {
    element,
    /** Says when it was last heard of, and which KPIs make it anomalous. */
    heard(site) {
      heard.replaceChildren("Last heard of ", instant(site.last_seen, context.clock.now()), site.last_seen ? " UTC, " : "", site.last_seen ? ageOf(site.last_seen) : "", ".", blameWords(site));
    },
    draw(site, snapshot) {
      status.replaceChildren(statusChip(site.status));
      region.textContent = site.region_id;
      region.href = regionAddress(context.fleet, site.region_id);
      FACTS.forEach(([label, text, tableName], i) => {
        setText(values[i].value, text(site));
        if (tableName) pointSource(values[i].source, context, tableName, snapshot.window.partition, label);
      });
      const own = snapshot.incidents.filter((one) => one.is_open && one.sites.includes(id));
      incidents.replaceChildren(...own.flatMap((one) => incidentWords(context, one)));
      show(incidents, own.length > 0);
    },
  };
}

function blameWords(site) {
  const kpis = Object.entries(site.top_kpis ?? {}).map(([name, share]) => `${name} ${percent(share)}`);
  if (!kpis.length) return "";
  return ` Anomalous in ${site.anomalous_in.join(", ")}; to blame: ${kpis.join(", ")}.`;
}

function incidentWords(context, incident) {
  const link = h("a", { href: address(context.fleet, "incidents", incident.incident_id) }, `incident: ${incident.pattern.replaceAll("_", " ")}, ${incident.domain}`);
  return [severityChip(incident.severity), link];
}

function anomalyWords(site) {
  if (site.anomaly_score === null) return "not scored";
  return `${site.anomaly_score.toFixed(2)}${site.is_anomalous ? ", A anomalous" : ""}`;
}
