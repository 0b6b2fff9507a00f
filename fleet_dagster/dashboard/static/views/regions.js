// The regions, with the parts of their scores; and one region with its sites and its history.

import { exportAddress } from "../api.js";
import { course } from "../course.js";
import { h, setText, show } from "../dom.js";
import { NONE, count, percent, score } from "../format.js";
import { bandChip, csvLink, empty, partKeys, partsBar, pointSource, regionAddress, setChip, siteLink, sourceLink } from "../parts.js";
import { address, replaceAsked } from "../routes.js";
import { siteAt, touches } from "../store.js";
import { table } from "../table.js";
import { BAND_MARKS, BAND_TONES } from "../words.js";
import { nothingYet } from "./now.js";
import { siteColumns } from "./site_columns.js";

export function regionsView(context) {
  return context.route.id ? oneRegion(context, context.route.id) : allRegions(context);
}

function allRegions(context) {
  const { asked } = context.route;
  const sort = { key: asked.sort ?? "health", isDown: asked.order === "desc" };
  const csv = csvLink("#", "Regions");
  const aim = (order) => {
    csv.href = exportAddress(context.fleet, "regions", { sort: order.key, order: order.isDown ? "desc" : "asc" });
  };
  let newest = null;
  const made = table({
    caption: "Regions and the parts of their health",
    columns: columns(context),
    key: (row) => row.region_id,
    sort,
    onSort: (order) => {
      replaceAsked(context.route, { sort: order.key, order: order.isDown ? "desc" : "asc" });
      aim(order);
      made.draw(newest.regions);
    },
  });
  const source = sourceLink(context, "regional_health", null, "Regions");
  const blank = nothingYet();
  const filled = h(
    "section",
    { class: "card" },
    h("div", { class: "card-head" }, h("h1", {}, "Regions"), source, h("span", { class: "spring" }), partKeys(), csv),
    made.element,
  );
  aim(sort);
  return {
    title: "Regions",
    element: h("div", {}, blank, filled),
    draw(snapshot, change) {
      newest = snapshot;
      show(blank, snapshot.window === null);
      show(filled, snapshot.window !== null);
      if (snapshot.window) pointSource(source, context, "regional_health", snapshot.window.partition, "Regions");
      if (touches(change, "regions")) made.draw(snapshot.regions);
    },
  };
}

/** A region of which no site reports has no health, whatever its row says. */
function known(region) {
  return region.coverage > 0 ? region.health : null;
}

function columns(context) {
  const part = (key, label) => ({
    key,
    label,
    isNumber: true,
    isLow: true,
    value: (row) => known(row)?.[key] ?? null,
    text: (row) => score(known(row)?.[key]),
  });
  const number = (key, label, isLow = true) => ({
    key,
    label,
    isNumber: true,
    isLow,
    value: (row) => row[key],
    text: (row) => count(row[key]),
  });
  const bars = new WeakMap();
  return [
    {
      key: "region_id",
      label: "Region",
      isHead: true,
      value: (row) => row.region_id,
      make: (row) => h("a", { href: regionAddress(context.fleet, row.region_id) }, row.region_id),
    },
    {
      key: "health",
      label: "Health",
      isNumber: true,
      value: (row) => known(row)?.score ?? null,
      text: (row) => healthText(known(row)),
    },
    {
      key: "band",
      label: "Band",
      isFixed: true,
      make: () => h("span"),
      update: (chip, row) => {
        const health = known(row);
        if (health) setChip(chip, BAND_TONES[health.band], BAND_MARKS[health.band], health.band);
        else setChip(chip, "gone", "○", "no site reports");
      },
    },
    {
      key: "parts",
      label: "Parts of the score",
      isFixed: true,
      isLow: true,
      make: () => {
        const bar = partsBar();
        bars.set(bar.element, bar);
        return bar.element;
      },
      update: (element, row) => bars.get(element).set(known(row)),
    },
    part("kpi", "KPIs"),
    part("uptime", "Uptime"),
    part("fault", "Faults"),
    { ...number("coverage", "Coverage", false), text: (row) => percent(row.coverage) },
    number("online", "Online"),
    number("degraded", "Degr."),
    number("faulted", "Fault."),
    number("offline", "Offl."),
    number("anomalies", "Anom."),
    {
      key: "worst_site_id",
      label: "Worst site",
      value: (row) => row.worst_site_id,
      isLow: true,
      make: () => h("span"),
      update: (box, row) => {
        if (box.textContent === (row.worst_site_id ?? NONE)) return;
        box.replaceChildren(row.worst_site_id ? siteLink(context.fleet, row.worst_site_id) : NONE);
      },
    },
  ];
}

function healthText(health) {
  if (!health) return NONE;
  return health.stderr === null ? score(health.score) : `${score(health.score)} ± ${score(health.stderr)}`;
}

function oneRegion(context, id) {
  const badge = h("span");
  const figure = h("p", { class: "figure" });
  const words = h("p", { class: "note" });
  const bar = partsBar();
  const source = sourceLink(context, "regional_health", null, `Region ${id}`);
  let newest = null;
  const sites = table({
    caption: `Sites of region ${id}`,
    columns: siteColumns(context).filter((one) => one.key !== "region_id"),
    key: (row) => row.site_id,
    sort: { key: "health", isDown: false },
    onSort: () => sites.draw(rowsOf(newest, id)),
  });
  const past = course(context, `region:${id}`, `History of ${id}`);
  const blank = h("div", { class: "card", hidden: true }, empty(`There is no region ${id}`, "Nothing of that name is in the newest window.", "h1"));
  const filled = h(
    "div",
    { class: "view" },
    h("h1", { class: "crumbs" }, h("a", { href: address(context.fleet, "regions") }, "Regions"), h("span", { class: "muted" }, "/"), id),
    h("section", { class: "card tile" }, h("h2", { class: "label" }, "Health of the region", badge, source), figure, words, bar.element, partKeys()),
    past.element,
    h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Its sites")), sites.element),
  );
  return {
    title: `Region ${id}`,
    element: h("div", {}, blank, filled),
    draw(snapshot, change) {
      newest = snapshot;
      const region = snapshot.regions.find((one) => one.region_id === id);
      show(blank, !region);
      show(filled, Boolean(region));
      if (!region) return;
      const health = known(region);
      badge.replaceChildren(bandChip(health ? health.band : null));
      setText(figure, health ? healthText(health) : "not known");
      setText(words, regionWords(region, snapshot));
      bar.set(health);
      pointSource(source, context, "regional_health", snapshot.window.partition, `Region ${id}`);
      if (touches(change, "sites")) sites.draw(rowsOf(snapshot, id));
      past.draw(snapshot);
    },
    destroy: past.destroy,
  };
}

function regionWords(region, snapshot) {
  if (!known(region)) return `None of its ${count(region.n_sites)} sites reports.`;
  const storm = snapshot.ingestion_mode === "storm" && region.health.stderr === null ? " Estimated from fewer than 5 sites: its error is not known." : "";
  return `${percent(region.coverage)} of its weight reports; ${count(region.online)} of ${count(region.n_sites)} sites are online; anomalous: ${count(region.anomalies)}.${storm}`;
}

function rowsOf(snapshot, region) {
  const { sites } = snapshot;
  const rows = [];
  sites.region_id.forEach((own, row) => {
    if (own === region) rows.push(siteAt(sites, row));
  });
  return rows;
}
