// The banners below the head. One that stays is not made anew, so that it is read out once.

import { h, keyed, setText, show } from "./dom.js";
import { ageOf, tickAges } from "./parts.js";

/** @param {{storm: (button: HTMLElement) => void, retry: () => void, mayEndStorm: () => boolean}} does */
export function banners(does) {
  const box = h("div", { class: "banners" });
  const known = new Map();
  return {
    element: box,
    /** @param {import("./judgement.js").Remark[]} remarks */
    draw(remarks, nowS) {
      const byKind = new Map(remarks.map((one) => [one.kind, one]));
      keyed(box, known, [...byKind.keys()], (kind) => banner(byKind.get(kind), does));
      for (const [kind, element] of known) fill(element, byKind.get(kind), does);
      tickAges(nowS, box);
    },
  };
}

function banner(remark, does) {
  const made = h(
    "div",
    { class: `banner ${remark.tone}`, role: remark.isUrgent ? "alert" : "status", "data-kind": remark.kind },
    h("strong"),
    // The age changes every second: those who listen are told the instant instead.
    h("span", { class: "since", "aria-hidden": true }),
    h("span", { class: "words" }),
  );
  if (remark.kind === "lost") made.append(h("button", { type: "button", onclick: does.retry }, "Try now"));
  if (remark.kind === "storm") {
    const end = h("button", { type: "button", class: "end-storm", onclick: () => does.storm(end) }, "End the storm…");
    made.append(end);
  }
  return made;
}

function fill(element, remark, does) {
  setText(element.querySelector("strong"), remark.title);
  setText(element.querySelector(".words"), remark.words);
  const since = element.querySelector(".since");
  const shown = since.querySelector("time")?.dateTime ?? null;
  if (shown !== (remark.since ?? null)) {
    const own = remark.kind === "storm" ? ["for ", ageOf(remark.since, "")] : [ageOf(remark.since)];
    since.replaceChildren(...(remark.since ? own : []));
  }
  const end = element.querySelector(".end-storm");
  if (end) show(end, does.mayEndStorm());
}
