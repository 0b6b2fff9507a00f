// Charts of a fleet's or a region's history: loaded, and loaded again as windows are added.

import { exportAddress, history } from "./api.js";
import { Chart, seriesKey } from "./charts.js";
import { h, setAttribute, setText, show } from "./dom.js";
import { seconds } from "./format.js";
import { csvLink } from "./parts.js";
import { LASTS, ranges } from "./ranges.js";
import { replaceAsked } from "./routes.js";

const LEAST_PAUSE_MS = 5000;
const HEALTH = [{ name: "health", label: "health", colour: "--chart-line" }];
const PARTS = [
  { name: "kpi", label: "KPIs", colour: "--chart-line" },
  { name: "uptime", label: "uptime", colour: "--chart-3", dash: [8, 3] },
  { name: "fault", label: "absence of faults", colour: "--chart-2", dash: [2, 3] },
];
const COVERAGE = [{ name: "coverage", label: "coverage", colour: "--chart-3" }];

/** Loads something for a span again and again, never twice at once, and not more often than every few seconds. */
export class Loader {
  /** @param {(span: {from: number, to: number}, signal: AbortSignal) => Promise<any>} load @param {(answer: any) => void} take @param {(words: string) => void} fail */
  constructor(load, take, fail) {
    Object.assign(this, { load, take, fail, loadedAt: -Infinity, timer: null });
  }

  /** Loads at once: something else was asked for. */
  async now(span) {
    clearTimeout(this.timer);
    this.timer = null;
    this.aborter?.abort();
    const aborter = new AbortController();
    this.aborter = aborter;
    this.loadedAt = performance.now();
    try {
      const answer = await this.load(span, aborter.signal);
      if (!aborter.signal.aborted) this.take(answer);
    } catch (error) {
      if (!aborter.signal.aborted) this.fail(error.message);
    }
  }

  /** Loads soon: there is something newer. */
  soon(spanOf) {
    if (this.timer !== null) return;
    const pause = Math.max(0, this.loadedAt + LEAST_PAUSE_MS - performance.now());
    this.timer = setTimeout(() => this.now(spanOf()), pause);
  }

  stop() {
    clearTimeout(this.timer);
    this.aborter?.abort();
  }
}

/** @param {any} context @param {string} of `fleet` or `region:ID` @param {string} title */
export function course(context, of, title) {
  const range = ranges(context.route.asked, LASTS, (asked) => {
    replaceAsked(context.route, asked);
    loader.now(span());
  });
  const onSpan = (from, to) => range.choose({ from, to });
  const group = `course-${of}`;
  const charts = [
    [HEALTH, new Chart({ label: "Health", height: 170, lines: HEALTH, range: [0, 1], group, onSpan })],
    [PARTS, new Chart({ label: "Its parts", height: 130, lines: PARTS, group, onSpan })],
    [COVERAGE, new Chart({ label: "Coverage: share of the weight that reports", height: 110, lines: COVERAGE, range: [0, 1], group, onSpan })],
  ];
  const [health, parts, coverage] = charts.map(([, chart]) => chart.element);
  parts.append(seriesKey(PARTS));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const thinned = h("p", { class: "muted small" });
  const csv = csvLink("#", `${title}, the history on screen`);
  const loader = new Loader((asked, signal) => history(context.fleet, of, asked, signal), take, fail);
  const span = () => {
    const asked = range.span();
    setAttribute(csv, "href", exportAddress(context.fleet, "history", { ...asked, of }));
    return asked;
  };
  let end = null;

  function take(answer) {
    show(problem, false);
    const byName = new Map(answer.series.map((one) => [one.name, one]));
    for (const [lines, chart] of charts) {
      const own = lines.map((line) => byName.get(line.name));
      show(chart.element, own.every(Boolean));
      if (!own.every(Boolean)) continue;
      const [first] = own;
      const isAlone = lines.length === 1;
      chart.set({
        t: answer.t,
        lines: own.map((one) => one.values),
        low: isAlone ? first.low : null,
        high: isAlone ? first.high : null,
      });
    }
    setText(thinned, answer.thinned ? "Thinned: each point is a mean of several windows, the band their extremes." : "");
  }

  function fail(words) {
    for (const [, chart] of charts) show(chart.element, false);
    problem.textContent = words;
    show(problem, true);
  }

  return {
    element: h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, title), h("span", { class: "spring" }), csv),
      h("div", { class: "stack" }, range.element, problem, health, h("div", { class: "columns" }, parts, coverage), thinned),
    ),
    draw(snapshot) {
      if (!snapshot.window || snapshot.window.end === end) return;
      const isFirst = end === null;
      end = snapshot.window.end;
      range.reach(seconds(end));
      if (isFirst) loader.now(span());
      else if (range.follows()) loader.soon(span);
    },
    destroy() {
      loader.stop();
      charts.forEach(([, chart]) => chart.destroy());
    },
  };
}
