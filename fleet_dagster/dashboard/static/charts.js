// Charts over time by uPlot: a line, or several, with a band; drag to choose a span; the figure under the pointer in words.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { h, setAttribute, setText } from "./dom.js";
import { reading, stamp } from "./format.js";
import { colour, onTheme } from "./theme.js";

const FONT = "11px system-ui, sans-serif";
const LEAST_DRAG_PX = 6;

/**
 * @typedef {{label: string, colour: string, dash?: number[]}} Line
 * @typedef {{t: number[], lines: (number|null)[][], low?: (number|null)[]|null, high?: (number|null)[]|null}} Course
 */

export class Chart {
  /**
   * @param {{label: string, unit?: string, height: number, lines: Line[], range?: [number, number], group?: string,
   *   onSpan?: (from: number, to: number) => void, title?: Element|string}} given
   */
  constructor(given) {
    this.given = given;
    this.plot = h("div", { class: "plot", role: "img", "aria-label": given.label });
    this.plot.style.setProperty("--height", `${given.height}px`);
    this.now = h("span", { class: "now" });
    this.words = h("figcaption");
    const title = given.title ?? h("span", {}, given.label);
    this.element = h("figure", { class: "chart", "aria-label": given.label }, h("div", { class: "chart-title" }, title, this.now), this.plot, this.words);
    this.course = null;
    this.forget = onTheme(() => this.paint());
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this.plot);
  }

  destroy() {
    this.forget();
    this.sizes.disconnect();
    this.uplot?.destroy();
  }

  /** @param {Course} course */
  set(course) {
    const hadBand = Boolean(this.course?.high);
    this.course = course;
    if (!this.uplot || hadBand !== Boolean(course.high)) this.paint();
    else this.uplot.setData(dataOf(course));
    this.say(null);
  }

  paint() {
    this.uplot?.destroy();
    this.uplot = null;
    const width = this.plot.clientWidth;
    if (!this.course || !width) return;
    this.uplot = new uPlot(this.options(width), dataOf(this.course), this.plot);
  }

  fit() {
    const width = this.plot.clientWidth;
    if (!width) return;
    if (!this.uplot) this.paint();
    else if (Math.abs(this.uplot.width - width) > 1) this.uplot.setSize({ width, height: this.given.height });
  }

  options(width) {
    const { height, lines, range, group, onSpan } = this.given;
    const axis = { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--chart-grid"), width: 1 }, ticks: { show: false } };
    const hasBand = Boolean(this.course.high);
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width,
      height,
      legend: { show: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
      padding: [6, 8, 0, 0],
      cursor: {
        y: false,
        points: { size: 6 },
        drag: { x: Boolean(onSpan), y: false, setScale: false },
        sync: group ? { key: group } : undefined,
      },
      scales: { y: { range: (_, low, high) => range ?? padded(low, high) } },
      axes: [
        { ...axis, space: 64, size: 24, values: (_, ticks) => ticks.map(hour) },
        { ...axis, size: 46, space: 26, values: (_, ticks) => ticks.map(tick) },
      ],
      series: [
        {},
        ...lines.map((line) => ({ stroke: colour(line.colour), width: 1.6, dash: line.dash, points: { show: isSparse(this.course), size: 4 } })),
        ...(hasBand ? [edge, edge] : []),
      ],
      bands: hasBand ? [{ series: [lines.length + 1, lines.length + 2], fill: colour("--chart-band") }] : [],
      hooks: {
        setCursor: [(u) => this.say(u.cursor.idx ?? null)],
        setSelect: [(u) => this.select(u)],
      },
    };
  }

  select(u) {
    if (u.select.width < LEAST_DRAG_PX || !this.given.onSpan) return;
    const from = u.posToVal(u.select.left, "x");
    const to = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.given.onSpan(Math.floor(from), Math.ceil(to));
  }

  /** Says the figures at a place, or of the whole chart. */
  say(at) {
    const { course, given } = this;
    if (!course) return;
    const newest = lastOf(course.lines[0]);
    const isAlone = given.lines.length === 1;
    setText(this.now, newest === null ? "no data" : isAlone ? withUnit(newest, given.unit) : "");
    const all = this.summary();
    setAttribute(this.plot, "aria-label", `${given.label}: ${all}`);
    setText(this.words, at === null ? all : this.pointWords(at));
  }

  summary() {
    if (this.given.lines.length > 1) return this.pointWords(this.course.t.length - 1);
    const known = this.course.lines[0].filter((value) => value !== null);
    if (!known.length) return "nothing was measured in this span";
    const [low, high] = [Math.min(...known), Math.max(...known)];
    return `${reading(low)} to ${withUnit(high, this.given.unit)}`;
  }

  pointWords(at) {
    const { course, given } = this;
    const values = given.lines.map((line, i) => {
      const value = course.lines[i][at];
      const text = value === null || value === undefined ? "nothing" : withUnit(value, given.unit);
      return given.lines.length > 1 ? `${line.label} ${text}` : text;
    });
    const band = course.high?.[at] === null || !course.high ? "" : ` (${reading(course.low[at])} to ${reading(course.high[at])})`;
    return `${stamp(course.t[at] * 1000).slice(5, 19)} UTC: ${values.join(", ")}${band}`;
  }
}

/** Labels of several lines, with their colours and dashes. */
export function seriesKey(lines) {
  return h(
    "p",
    { class: "series-key" },
    ...lines.map((line) => {
      const one = h("span", {}, line.label);
      one.style.setProperty("--colour", `var(${line.colour})`);
      one.style.setProperty("--dash", line.dash ? (line.dash[0] < 4 ? "dotted" : "dashed") : "solid");
      return one;
    }),
  );
}

/** The hour of a tick in UTC; midnight is told by its date. */
function hour(at) {
  const text = stamp(at * 1000);
  if (text.endsWith("00:00:00")) return text.slice(5, 10);
  return at % 60 ? text.slice(11) : text.slice(11, 16);
}

function dataOf(course) {
  return [course.t, ...course.lines, ...(course.high ? [course.high, course.low] : [])];
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low || Math.abs(high) * 0.1 || 1) * 0.08;
  return [low - room, high + room];
}

function tick(value) {
  return Math.abs(value) >= 10000 ? `${value / 1000}k` : String(Number(value.toPrecision(4)));
}

function isSparse(course) {
  return course.t.length < 3 ? true : undefined;
}

function lastOf(values) {
  const value = values.at(-1);
  return value === undefined ? null : value;
}

function withUnit(value, unit) {
  return unit && unit !== "1" ? `${reading(value)} ${unit}` : reading(value);
}
