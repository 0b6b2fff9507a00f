// The map: a cell for each site, grouped by region, one stop of the tab key, moved in by arrows.

import { h, keyed, setAttribute, setClass, setText } from "./dom.js";
import { percent, score } from "./format.js";
import { regionAddress, setChip, siteAddress } from "./parts.js";
import { BAND_MARKS, BAND_TONES, LEGEND, cellOf, siteLabel } from "./words.js";

const UNMAPPED = "unmapped";

/** @param {string} fleet */
export function siteMap(fleet) {
  const box = h("div", { class: "map" });
  box.addEventListener("focusin", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell || cell.tabIndex === 0) return;
    box.querySelectorAll('.cell[tabindex="0"]').forEach((one) => setAttribute(one, "tabindex", "-1"));
    setAttribute(cell, "tabindex", "0");
  });
  // The hint is the name that is there for readers anyway: it is copied for the one cell that is pointed at.
  box.addEventListener("pointerover", (event) => {
    const cell = event.target.closest(".cell");
    if (cell) setAttribute(cell, "title", cell.getAttribute("aria-label"));
  });
  /** @type {HTMLAnchorElement[]} */
  let cells = [];
  let names = null;
  let regions = null;
  const boxes = new Map();

  function build(sites) {
    names = [...sites.site_id];
    regions = [...sites.region_id];
    const byRegion = new Map();
    cells = names.map((site, row) => {
      const cell = h("a", { class: "cell", href: siteAddress(fleet, site) });
      const region = sites.region_id[row];
      byRegion.set(region, [...(byRegion.get(region) ?? []), cell]);
      return cell;
    });
    const order = [...byRegion.keys()].sort((a, b) => (a === UNMAPPED) - (b === UNMAPPED) || (a < b ? -1 : 1));
    boxes.clear();
    box.replaceChildren();
    keyed(box, boxes, order, (region) => regionBox(fleet, region, byRegion.get(region)));
    const first = box.querySelector(".cell");
    cells.forEach((cell) => setAttribute(cell, "tabindex", cell === first ? "0" : "-1"));
  }

  /** Whether every site has its cell, in the box of its region. */
  function isPlaced(sites) {
    return names !== null && isSame(names, sites.site_id) && isSame(regions, sites.region_id);
  }

  return {
    element: box,
    draw(snapshot, change) {
      const { sites } = snapshot;
      const isNew = change.isWhole || change.keys.has("site_regions") ? !isPlaced(sites) : false;
      if (isNew) build(sites);
      const isAll = isNew || change.isWhole;
      const rows = isAll ? sites.site_id.keys() : change.rows;
      for (const row of rows) drawCell(cells[row], sites, row);
      if (isAll || change.keys.has("regions")) {
        for (const region of snapshot.regions) drawRegion(boxes.get(region.region_id), region);
      }
    },
  };
}

export function legend() {
  return h(
    "div",
    { class: "legend" },
    ...LEGEND.map(([tone, mark, words]) =>
      h("span", {}, h("span", { class: `cell ${tone}`, "aria-hidden": true }, mark), words),
    ),
  );
}

function isSame(one, other) {
  return one.length === other.length && one.every((value, i) => value === other[i]);
}

function drawCell(cell, sites, row) {
  const { tone, mark } = cellOf(sites, row);
  setClass(cell, `cell ${tone}`);
  setText(cell, mark);
  const label = siteLabel(sites, row);
  setAttribute(cell, "aria-label", label);
}

function regionBox(fleet, region, cells) {
  const name = h("h3", {}, h("a", { href: regionAddress(fleet, region) }, region), h("span", { class: "chip" }));
  return h("div", { class: "map-region", role: "group", "aria-label": `Region ${region}` }, name, h("div", { class: "cells" }, ...cells));
}

function drawRegion(box, region) {
  if (!box) return;
  const badge = box.querySelector(".chip");
  const { health, coverage } = region;
  if (coverage === 0) setChip(badge, "gone", "○", "silent");
  else setChip(badge, BAND_TONES[health.band], BAND_MARKS[health.band], score(health.score));
  setAttribute(badge, "title", coverage === 0 ? "no site reports" : `health ${score(health.score)}, ${health.band}, ${percent(coverage)} reports`);
}
