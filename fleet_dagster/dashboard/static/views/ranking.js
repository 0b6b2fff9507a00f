// The ranking: every site in any order, filtered by region, status, text, and whether it is an outlier.

import { exportAddress } from "../api.js";
import { h, setText, show } from "../dom.js";
import { count } from "../format.js";
import { csvLink, pointSource, sourceLink } from "../parts.js";
import { replaceAsked } from "../routes.js";
import { siteAt, touches } from "../store.js";
import { table } from "../table.js";
import { STATUSES } from "../words.js";
import { nothingYet } from "./now.js";
import { siteColumns } from "./site_columns.js";

const STEP = 100;

export function rankingView(context) {
  const { asked } = context.route;
  let sort = { key: asked.sort ?? "rank_in_fleet", isDown: asked.order === "desc" };
  let most = STEP;
  let newest = null;
  const region = h("select", { name: "region", onchange: filter }, h("option", { value: "" }, "all"));
  const status = h(
    "select",
    { name: "status", onchange: filter },
    h("option", { value: "" }, "any"),
    ...STATUSES.map((name) => h("option", { value: name, selected: name === asked.status }, name)),
  );
  const text = h("input", { type: "search", name: "q", value: asked.q ?? "", oninput: filter, spellcheck: "false" });
  const outliers = h("input", { type: "checkbox", name: "outliers", checked: asked.outliers === "1", onchange: filter });
  const words = h("p", { class: "muted", role: "status" });
  const more = h("button", { type: "button", onclick: showMore });
  const csv = csvLink("#", "Ranking as filtered");
  const source = sourceLink(context, "site_ranking", null, "Ranking");
  const made = table({
    caption: "Ranking of sites",
    columns: siteColumns(context),
    key: (row) => row.site_id,
    sort,
    onSort: (order) => {
      sort = order;
      filter();
    },
  });
  const blank = nothingYet();
  const filled = h(
    "section",
    { class: "card stack" },
    h("div", { class: "card-head" }, h("h1", {}, "Ranking"), source, h("span", { class: "spring" }), csv),
    h(
      "form",
      { class: "filters", role: "search", "aria-label": "Filter the ranking", onsubmit: (e) => e.preventDefault() },
      h("label", {}, "Name or region holds", text),
      h("label", {}, "Region", region),
      h("label", {}, "Status", status),
      h("label", { class: "inline" }, outliers, "persistent outliers only"),
    ),
    words,
    made.element,
    h("div", { class: "row" }, more),
  );

  function chosen() {
    return {
      q: text.value.trim(),
      region: region.value || (asked.region ?? ""),
      status: status.value,
      outliers: outliers.checked ? "1" : "",
      sort: sort.key,
      order: sort.isDown ? "desc" : "asc",
    };
  }

  function filter(event) {
    if (event?.target === region) asked.region = region.value;
    most = STEP;
    replaceAsked(context.route, chosen());
    draw();
  }

  function showMore() {
    most += STEP;
    draw();
  }

  function draw() {
    if (!newest?.window) return;
    const now = chosen();
    csv.href = exportAddress(context.fleet, "ranking", now);
    const rows = matching(newest.sites, now);
    made.draw(rows, most);
    setText(words, `${count(rows.length)} of ${count(newest.sites.site_id.length)} sites${rows.length > most ? `; the first ${most} are shown` : ""}`);
    setText(more, `Show ${Math.min(STEP, rows.length - most)} more`);
    show(more, rows.length > most);
  }

  return {
    title: "Ranking",
    element: h("div", {}, blank, filled),
    draw(snapshot, change) {
      newest = snapshot;
      show(blank, snapshot.window === null);
      show(filled, snapshot.window !== null);
      if (!snapshot.window) return;
      if (touches(change, "site_regions") || region.length === 1) fillRegions(region, snapshot, asked.region);
      pointSource(source, context, "site_ranking", snapshot.window.partition, "Ranking");
      if (touches(change, "sites")) draw();
    },
  };
}

function fillRegions(select, snapshot, chosen) {
  const names = [...new Set(snapshot.sites.region_id)].sort();
  const shown = [...select.options].slice(1).map((one) => one.value);
  if (names.join("\n") === shown.join("\n")) return;
  select.replaceChildren(select.options[0], ...names.map((name) => h("option", { value: name, selected: name === chosen }, name)));
}

/** Rows that pass the filters. */
function matching(sites, { q, region, status, outliers }) {
  const wanted = status ? STATUSES.indexOf(status) : -1;
  const part = q.toLowerCase();
  const rows = [];
  for (let row = 0; row < sites.site_id.length; row += 1) {
    if (region && sites.region_id[row] !== region) continue;
    if (wanted >= 0 && sites.status[row] !== wanted) continue;
    if (outliers && !sites.is_persistent_outlier[row]) continue;
    const names = `${sites.site_id[row]}\n${sites.region_id[row]}`;
    if (part && !names.toLowerCase().includes(part)) continue;
    rows.push(siteAt(sites, row));
  }
  return rows;
}
