// What must be said of a picture before anybody believes it: that it is old, that no site reports, that nobody is listening.

import { isSilent, sampledWords } from "./words.js";
import { age, percent, plural, seconds, stamp } from "./format.js";

const MANY_MISSING = 0.5;

/**
 * @typedef {{kind: string, tone: "warn"|"lost", title: string, words: string, since?: string, isUrgent: boolean}} Remark
 * @typedef {{snapshot: any, link: "connecting"|"live"|"lost", problem: string, heardAtS: number|null, trouble: string, nowS: number}} Seen
 */

/** Returns what is to be said, the gravest first. @param {Seen} seen @returns {Remark[]} */
export function remarks(seen) {
  const { snapshot } = seen;
  const found = [lost(seen), trouble(seen)];
  if (snapshot) found.push(old(seen), silent(snapshot), thin(snapshot), storm(snapshot));
  return found.filter((one) => one !== null);
}

/** Whether what is shown may no longer be so. @param {Seen} seen */
export function isOld(seen) {
  return seen.link === "lost" || lagS(seen) !== null || Boolean(trouble(seen));
}

/** The title of the tab: the state first, since tabs are narrow. @param {Seen} seen */
export function titleOf(seen, fleet) {
  const { snapshot, link } = seen;
  if (link === "lost") return `✕ disconnected · ${fleet}`;
  if (!snapshot) return `… · ${fleet}`;
  if (!snapshot.window) return `○ nothing computed · ${fleet}`;
  if (isOld(seen)) return `⚠ old picture · ${fleet}`;
  if (isSilent(snapshot)) return `○ no site reports · ${fleet}`;
  const { band, score } = snapshot.health;
  const mark = { healthy: "●", degraded: "◆", critical: "▲" }[band];
  return `${mark} ${score.toFixed(2)} ${band} · ${fleet}`;
}

/** How long ago the window ended, if that is longer than it should be; else null. */
export function lagS({ snapshot, nowS }) {
  if (!snapshot?.window) return null;
  const lag = nowS - seconds(snapshot.window.end);
  return lag > snapshot.patience_s ? lag : null;
}

function lost({ link, problem, heardAtS }) {
  if (link !== "lost") return null;
  const since = heardAtS === null ? null : new Date(heardAtS * 1000).toISOString();
  const heard = since
    ? `Nothing newer than ${stamp(since)} UTC is shown: the fleet may be in another state by now.`
    : "Nothing could be shown yet.";
  return {
    kind: "lost",
    tone: "lost",
    title: "✕ Disconnected",
    words: `${heard} Reason: ${problem || "the server does not answer"}. Trying again by itself.`,
    since,
    isUrgent: true,
  };
}

function trouble({ snapshot, trouble: first }) {
  const words = snapshot?.trouble?.problem ?? first;
  if (!words) return null;
  return {
    kind: "trouble",
    tone: "lost",
    title: "⚠ The picture cannot be renewed",
    words,
    since: snapshot?.trouble?.since,
    isUrgent: true,
  };
}

function old(seen) {
  if (lagS(seen) === null) return null;
  const { window, patience_s: patience } = seen.snapshot;
  return {
    kind: "old",
    tone: "warn",
    title: "⚠ Old picture",
    words: `The newest window ended at ${stamp(window.end)} UTC. It should be less than ${age(patience)} old: telemetry does not arrive, or nothing computes it. See Pipeline.`,
    since: window.end,
    isUrgent: true,
  };
}

function silent(snapshot) {
  if (!isSilent(snapshot)) return null;
  return {
    kind: "silent",
    tone: "lost",
    title: "○ No site reports",
    words: `All ${plural(snapshot.total_sites, "site")} are silent in the newest window. Nothing is known of the fleet's health.`,
    isUrgent: true,
  };
}

function thin(snapshot) {
  const isThin = snapshot.window && snapshot.coverage > 0 && snapshot.coverage < MANY_MISSING;
  if (!isThin) return null;
  return {
    kind: "thin",
    tone: "warn",
    title: "◆ Most of the fleet is silent",
    words: `Only ${percent(snapshot.coverage)} of its weight reports. Health is that of the sites that do.`,
    isUrgent: true,
  };
}

function storm(snapshot) {
  const { storm: episode, health } = snapshot;
  if (!episode) return null;
  const stderr = health?.stderr;
  const error = stderr === null || stderr === undefined ? "" : ` (± ${stderr.toFixed(3)} standard error)`;
  const words = episode.end
    ? `It ended at ${stamp(episode.end)} UTC; the newest window still lies in it.`
    : `${episode.is_held ? "It goes on until somebody ends it." : "It ends by itself when the fleet is calm again."}`;
  return {
    kind: "storm",
    tone: "warn",
    title: "◆ Storm",
    words: `${episode.cause ? `Cause: ${episode.cause}. ` : ""}KPI figures are ${sampledWords(snapshot)}${error}. ${words}`,
    since: episode.start,
    isUrgent: false,
  };
}
