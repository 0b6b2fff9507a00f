// Small pieces that several views are made of: instants, chips, links to where a figure was made, bars of the parts.

import { h, setAttribute, setClass, setText } from "./dom.js";
import { NONE, age, clock, local, score, stamp } from "./format.js";
import { BAND_MARKS, BAND_TONES, SEVERITY_MARKS, SEVERITY_TONES, STATUSES, STATUS_MARKS, STATUS_TONES } from "./words.js";

/** An instant in UTC, with the viewer's own time on hovering. */
export function instant(text, nowS) {
  if (!text) return h("span", {}, NONE);
  return h("time", { datetime: text, title: `${stamp(text)} UTC; ${local(text)}` }, clock(text, nowS));
}

/** The age of an instant, which goes on by itself: `tickAges` renews it. */
export function ageOf(text, suffix = " ago") {
  if (!text) return h("span", {}, NONE);
  return h("time", { datetime: text, title: `${stamp(text)} UTC; ${local(text)}`, "data-age": suffix });
}

/** Renews every age on the page. */
export function tickAges(nowS, root = document) {
  for (const element of root.querySelectorAll("time[data-age]")) {
    const passed = nowS - Date.parse(element.dateTime) / 1000;
    setText(element, `${age(passed)}${element.dataset.age}`);
  }
}

export function chip(tone, mark, words) {
  return h("span", { class: `chip ${tone}` }, `${mark} ${words}`.trim());
}

export function setChip(element, tone, mark, words) {
  setClass(element, `chip ${tone}`);
  setText(element, `${mark} ${words}`.trim());
}

export function bandChip(band) {
  return band === null ? chip("gone", "○", "not known") : chip(BAND_TONES[band], BAND_MARKS[band], band);
}

export function statusChip(status) {
  return chip(STATUS_TONES[status], STATUS_MARKS[status], STATUSES[status]);
}

export function severityChip(severity) {
  return chip(SEVERITY_TONES[severity], SEVERITY_MARKS[severity], severity);
}

/** A link to the rows behind a figure; null where no Dagster is known. */
export function sourceLink(context, table, partition, what = "") {
  const dagster = context.session.dagster_url;
  if (!dagster) return null;
  const link = h("a", { class: "source", target: "_blank", rel: "noopener" }, "↗");
  pointSource(link, context, table, partition, what);
  return link;
}

export function pointSource(link, context, table, partition, what = "") {
  if (!link) return;
  const place = `${context.session.dagster_url.replace(/\/$/, "")}/assets/${encodeURIComponent(context.fleet)}/${table}`;
  setAttribute(link, "href", partition ? `${place}?view=partitions&partition=${encodeURIComponent(partition)}` : place);
  const where = `${table}${partition ? `, partition ${partition}` : ""} in Dagster (new tab)`;
  setAttribute(link, "aria-label", what ? `${what}: ${where}` : where);
  setAttribute(link, "title", where);
}

/** A bar of the three parts that sum to a health; its words say the same. */
export function partsBar() {
  const bar = h(
    "span",
    { class: "parts-bar", role: "img" },
    ...["kpi", "uptime", "fault"].map((name) => h("span", { class: name })),
  );
  return { element: bar, set: (health) => setParts(bar, health) };
}

function setParts(bar, health) {
  for (const part of bar.children) {
    part.style.setProperty("--share", health ? `${health[part.className] * 100}%` : "0%");
  }
  setAttribute(bar, "aria-label", partWords(health));
  setAttribute(bar, "title", partWords(health));
}

export function partWords(health) {
  if (!health) return "parts not known";
  return `KPIs ${score(health.kpi)}, uptime ${score(health.uptime)}, faults ${score(health.fault)}`;
}

export function partKeys() {
  return h(
    "p",
    { class: "part-keys" },
    h("span", { class: "key-kpi" }, "KPIs"),
    h("span", { class: "key-uptime" }, "uptime"),
    h("span", { class: "key-fault" }, "absence of faults"),
  );
}

/** What stands where there is nothing to show; `level` is `h1` where it is all of the view. */
export function empty(title, words, level = "h2") {
  return h("div", { class: "empty" }, h(level, {}, title), words);
}

export function csvLink(address, what) {
  return h("a", { class: "csv", href: address, download: true, "aria-label": `${what} as CSV` }, "CSV");
}

export function siteLink(fleet, site) {
  return h("a", { href: siteAddress(fleet, site) }, site);
}

export function siteAddress(fleet, site) {
  return `#/${encodeURIComponent(fleet)}/site/${encodeURIComponent(site)}`;
}

export function regionAddress(fleet, region) {
  return `#/${encodeURIComponent(fleet)}/regions/${encodeURIComponent(region)}`;
}
