// Columns of a table of sites: the ranking's, and a region's.

import { h } from "../dom.js";
import { NONE, count, percent, plural, score, signed } from "../format.js";
import { regionAddress, setChip, siteLink } from "../parts.js";
import { STATUSES, STATUS_MARKS, STATUS_TONES, standsLower } from "../words.js";

const OFFLINE = 3;

/** @returns {import("../table.js").Column[]} */
export function siteColumns(context) {
  return [
    {
      key: "site_id",
      label: "Site",
      isHead: true,
      value: (row) => row.site_id,
      make: (row) => siteLink(context.fleet, row.site_id),
    },
    {
      key: "region_id",
      label: "Region",
      isLow: true,
      value: (row) => row.region_id,
      make: () => h("a"),
      update: (link, row) => {
        if (link.textContent === row.region_id) return;
        link.textContent = row.region_id;
        link.href = regionAddress(context.fleet, row.region_id);
      },
    },
    {
      key: "status",
      label: "Status",
      value: (row) => row.status,
      make: () => h("span"),
      update: (chip, row) => setChip(chip, STATUS_TONES[row.status], STATUS_MARKS[row.status], STATUSES[row.status]),
    },
    {
      key: "health",
      label: "Health",
      isNumber: true,
      value: (row) => row.health,
      text: (row) => score(row.health),
      hint: rankedWords,
    },
    { key: "rank_in_fleet", label: "Rank", isNumber: true, value: (row) => row.rank_in_fleet, text: (row) => count(row.rank_in_fleet) },
    number("rank_in_region", "In region", count),
    number("modified_z_fleet", "z, fleet", signed),
    number("modified_z_region", "z, region", signed),
    {
      key: "is_persistent_outlier",
      label: "Outlier",
      value: (row) => (row.is_persistent_outlier ? 2 : row.is_outlier ? 1 : 0),
      make: () => h("span"),
      update: (chip, row) => {
        const isLower = standsLower(row.modified_z_region, row.modified_z_fleet);
        const words = `${row.is_persistent_outlier ? "persistent" : "this window"}, ${isLower ? "worse" : "better"}`;
        const isGrave = row.is_persistent_outlier && isLower;
        setChip(chip, isGrave ? "poor" : "", isGrave ? "!" : "", words);
        chip.hidden = !row.is_outlier && !row.is_persistent_outlier;
      },
    },
    {
      key: "anomaly_score",
      label: "Anomaly",
      isNumber: true,
      value: (row) => row.anomaly_score,
      text: (row) => (row.anomaly_score === null ? NONE : `${row.is_anomalous ? "A " : ""}${row.anomaly_score.toFixed(2)}`),
      hint: (row) => (row.is_anomalous ? "above its threshold" : null),
    },
    number("uptime_pct", "Uptime", (value) => percent(value === null ? null : value / 100, 1)),
    number("fault_count", "Faults", count),
    { key: "disposition", label: "Row", isLow: true, value: (row) => row.disposition, text: (row) => row.disposition.replaceAll("_", " "), hint: rankedWords },
  ];
}

/** Says when a site was ranked: between rows that are published, its last one stands. */
export function rankedWords({ status, ranked_windows_ago: ago }) {
  if (status === OFFLINE) return "offline: nothing is known of its health now";
  if (ago === null) return "never ranked";
  return ago === 0 ? "ranked in the newest window" : `ranked ${plural(ago, "window")} ago`;
}

function number(key, label, text) {
  return { key, label, isNumber: true, isLow: true, value: (row) => row[key], text: (row) => text(row[key]) };
}
