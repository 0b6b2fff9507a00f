// Words and marks of statuses, bands and severities. Each has a letter or a shape of its own beside its colour.

import { percent, score } from "./format.js";

export const STATUSES = ["online", "degraded", "faulted", "offline"];
export const STATUS_TONES = ["good", "poor", "bad", "gone"];
export const STATUS_MARKS = ["●", "D", "F", "×"];
export const BAND_TONES = { healthy: "good", degraded: "poor", critical: "bad" };
export const BAND_MARKS = { healthy: "●", degraded: "◆", critical: "▲" };
export const SEVERITY_TONES = { info: "", warning: "poor", critical: "bad" };
export const SEVERITY_MARKS = { info: "ℹ", warning: "◆", critical: "▲" };
export const TRUTHS = {
  fault: "A fault: something is or was broken",
  maintenance: "Maintenance: it was planned",
  false_alarm: "A false alarm: nothing was wrong",
  unknown: "Not known yet",
};
export const MODES = {
  full: ["full", "every site, every window"],
  downsample_healthy: ["downsampled", "healthy sites every 5th window"],
  deviation_only: ["deviations only", "sites that deviate; the others every 10th window"],
  storm: ["storm", "KPIs of a sample of sites"],
};
const DEGRADED = 0.8;
const CRITICAL = 0.5;

export function bandOf(health) {
  if (health === null || health === undefined) return null;
  return health >= DEGRADED ? "healthy" : health >= CRITICAL ? "degraded" : "critical";
}

/** Whether no site reports: then a health of 0 is no measurement. */
export function isSilent(snapshot) {
  return snapshot.window !== null && snapshot.coverage === 0;
}

/**
 * What a site's cell shows: the worst that is true of it.
 * @returns {{tone: string, mark: string, words: string}}
 */
export function cellOf(sites, row) {
  const status = sites.status[row];
  const health = sites.health[row];
  if (status > 0) {
    return { tone: STATUS_TONES[status], mark: STATUS_MARKS[status], words: STATUSES[status] };
  }
  const band = bandOf(health);
  if (band === "critical") return { tone: "bad", mark: "C", words: "critical health" };
  if (sites.is_anomalous[row]) return { tone: "poor", mark: "A", words: "anomalous" };
  if (band === "degraded") return { tone: "poor", mark: "H", words: "low health" };
  if (isPersistentlyWorse(sites, row)) return { tone: "poor", mark: "!", words: "persistent outlier" };
  return { tone: "good", mark: "", words: "online" };
}

/** Whether a site stands out for the worse: when some sites of a region fail, the healthy rest are outliers, too. */
export function standsLower(zRegion, zFleet) {
  const [region, fleet] = [zRegion ?? 0, zFleet ?? 0];
  return (Math.abs(region) > Math.abs(fleet) ? region : fleet) < 0;
}

function isPersistentlyWorse(sites, row) {
  const { modified_z_region: region, modified_z_fleet: fleet } = sites;
  return sites.is_persistent_outlier[row] && standsLower(region[row], fleet[row]);
}

/** Marks of the map, in the order of their gravity; the last is for sites of which nothing is wrong. */
export const LEGEND = [
  ["bad", "F", "faulted"],
  ["bad", "C", "critical health"],
  ["poor", "D", "degraded"],
  ["poor", "A", "anomalous"],
  ["poor", "H", "low health"],
  ["poor", "!", "persistent outlier"],
  ["gone", "×", "offline: nothing is heard of it"],
  ["good", "", "online"],
];

/** A site's name to those who hear the page instead of seeing it. */
export function siteLabel(sites, row) {
  const { words } = cellOf(sites, row);
  const health = sites.health[row];
  const ranked = health === null ? "not ranked" : `health ${score(health)}`;
  return `${sites.site_id[row]}, ${words}, ${sites.status[row] === 3 ? "no current health" : ranked}`;
}

export function sampledWords(snapshot) {
  return `estimated: KPIs of ${percent(snapshot.sampled_fraction)} of the sites are read`;
}
