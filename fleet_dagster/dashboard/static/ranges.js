// The span that charts show: the newest hours, or a stretch of the past that was dragged over.

import { h, setAttribute, setText, show } from "./dom.js";
import { stamp } from "./format.js";

const HOUR = 3600;
export const LASTS = { "1 h": HOUR, "6 h": 6 * HOUR, "24 h": 24 * HOUR, "7 d": 168 * HOUR };

/** @param {Record<string, string>} asked filters of the address @param {Record<string, number>} lasts choices [s] @param {(asked: {last?: string, from?: string, to?: string}) => void} onChange */
export function ranges(asked, lasts, onChange) {
  let state = stateOf(asked, lasts);
  const buttons = Object.keys(lasts).map((name) =>
    h("button", { type: "button", onclick: () => choose({ last: name }) }, name),
  );
  const earlier = h("button", { type: "button", "aria-label": "earlier", onclick: () => move(-0.5) }, "◀");
  const later = h("button", { type: "button", "aria-label": "later", onclick: () => move(0.5) }, "▶");
  const words = h("span", { class: "muted small" });
  const element = h(
    "div",
    { class: "row" },
    h("div", { class: "ranges", role: "group", "aria-label": "Span of the charts" }, ...buttons, earlier, later),
    words,
  );
  let newestS = null;

  function choose(next) {
    state = next;
    draw();
    onChange(state);
  }

  function move(share) {
    const { from, to } = span();
    const by = Math.round((to - from) * share);
    if (to + by >= newestS && state.last) return;
    choose({ from: from + by, to: Math.min(to + by, newestS) });
  }

  function span() {
    if (state.last) return { from: newestS - LASTS[state.last], to: newestS };
    return { from: Number(state.from), to: Number(state.to) };
  }

  function draw() {
    buttons.forEach((one) => setAttribute(one, "aria-pressed", String(one.textContent === state.last)));
    later.disabled = Boolean(state.last);
    const hint = state.last ? "Drag over a chart to look closer." : `${short(state.from)} to ${short(state.to)} UTC`;
    setText(words, hint);
    show(words, true);
  }

  draw();
  return {
    element,
    span,
    choose,
    follows: () => Boolean(state.last),
    /** Tells where the newest window ends [s]. */
    reach(endS) {
      newestS = endS;
    },
  };
}

function stateOf(asked, lasts) {
  if (Number(asked.from) < Number(asked.to)) return { from: asked.from, to: asked.to };
  return { last: asked.last in lasts ? asked.last : "6 h" };
}

function short(at) {
  return stamp(Number(at) * 1000).slice(0, 16);
}
