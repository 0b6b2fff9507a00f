// How figures, ages and instants are said. A missing figure is a dash, and never a nought.

export const NONE = "–";

/** @param {number|null|undefined} value */
export function score(value) {
  return value === null || value === undefined ? NONE : value.toFixed(3);
}

export function percent(share, digits = 0) {
  if (share === null || share === undefined) return NONE;
  const text = (share * 100).toFixed(digits);
  // 99.96 % that report are not all of them, and one site of many is not none.
  const least = 10 ** -digits;
  if (share < 1 && Number(text) === 100) return `> ${(100 - least).toFixed(digits)} %`;
  if (share > 0 && Number(text) === 0) return `< ${least.toFixed(digits)} %`;
  return share === 1 || share === 0 ? `${share * 100} %` : `${text} %`;
}

export function count(value) {
  // `toLocaleString` takes a hundred times as long, and figures are drawn ten times a second.
  return value === null || value === undefined ? NONE : String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function signed(value) {
  if (value === null || value === undefined) return NONE;
  const text = Math.abs(value).toFixed(1);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

/** A reading with as many digits as help. */
export function reading(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 10000) return count(Math.round(value));
  return value.toFixed(size >= 100 ? 1 : size >= 1 ? 2 : 3);
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** An age in two units at most, as the terminal says it. */
export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const days = Math.floor(s / 86400);
  const hours = Math.floor(s / 3600) % 24;
  const minutes = Math.floor(s / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return s % 60 ? `${minutes} min ${s % 60} s` : `${minutes} min`;
  return `${s} s`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : age(seconds);
}

/** Seconds since 1970 of an instant. */
export function seconds(instant) {
  return Date.parse(instant) / 1000;
}

/** `2026-11-22 08:09:00`, in UTC. */
export function stamp(instant) {
  return new Date(instant).toISOString().slice(0, 19).replace("T", " ");
}

/** The time of the day in UTC, with the date where that is another day than today. */
export function clock(instant, nowS) {
  const text = stamp(instant);
  const today = new Date(nowS * 1000).toISOString().slice(0, 10);
  return text.startsWith(today) ? text.slice(11) : text.slice(0, 16);
}

/** The same instant where the viewer is. */
export function local(instant) {
  const text = new Date(instant).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "long" });
  return `your time: ${text}`;
}
