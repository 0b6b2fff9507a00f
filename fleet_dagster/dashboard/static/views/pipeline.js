// How the figures come to be: nodes, how far behind they are, AI slots, the ledger, what could not be used.

import { actions } from "../api.js";
import { h, setText, show } from "../dom.js";
import { NONE, count, duration } from "../format.js";
import { ageOf, chip, instant, setChip, sourceLink } from "../parts.js";
import { touches } from "../store.js";
import { table } from "../table.js";

const SOURCES = { live: "live engine", run: "Dagster run", cli: "command line" };

export function pipelineView(context) {
  const facts = h("dl", { class: "facts" });
  const nodes = table({ caption: "Nodes and what they did last", columns: nodeColumns(context), key: (row) => row.node });
  const slots = table({ caption: "AI slots and how their answers went", columns: SLOT_COLUMNS, key: (row) => String(row.slot_id) });
  const noSlots = h("p", { class: "muted" }, "This fleet has no AI slots.");
  const quarantine = table({ caption: "Snapshots quarantined in the last day, by reason", columns: REASON_COLUMNS, key: (row) => row.reason });
  const noReasons = h("p", { class: "muted" }, "Nothing was quarantined in the last day.");
  const done = operatorActions(context);
  const card = (title, tableName, ...content) =>
    h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, title), tableName && sourceLink(context, tableName, null, title)), ...content);
  return {
    title: "Pipeline",
    element: h(
      "div",
      { class: "view" },
      h("h1", {}, "Pipeline"),
      card("Where it is", null, facts),
      card("Nodes", null, nodes.element),
      h("div", { class: "columns" }, card("AI slots", "ai_inference", noSlots, slots.element), card("Quarantine, last day", "quarantine", noReasons, quarantine.element), done.element),
    ),
    draw(snapshot, change) {
      if (!touches(change, "pipeline", "window")) return;
      const { pipeline } = snapshot;
      facts.replaceChildren(...factsOf(context, snapshot).map(([term, ...content]) => h("div", {}, h("dt", {}, term), h("dd", {}, ...content))));
      nodes.draw([...pipeline.nodes]);
      const reasons = Object.entries(pipeline.quarantined_last_day).map(([reason, n]) => ({ reason, n }));
      slots.draw([...pipeline.slots]);
      quarantine.draw(reasons.sort((a, b) => b.n - a.n));
      show(noSlots, pipeline.slots.length === 0);
      show(slots.element, pipeline.slots.length > 0);
      show(noReasons, reasons.length === 0);
      show(quarantine.element, reasons.length > 0);
      done.load();
    },
    destroy: done.destroy,
  };
}

function factsOf(context, { pipeline, window }) {
  const { live, ledger } = pipeline;
  const now = context.clock.now();
  const at = (text) => (text ? [instant(text, now), " UTC, ", ageOf(text)] : [NONE]);
  const found = [
    ["Computed by", live ? `live engine ${live.holder}` : "the schedule alone; no live engine holds this fleet"],
    ["Newest telemetry", ...at(pipeline.newest_telemetry)],
    ["Newest window ended", ...at(window?.end)],
    ["Settled through", ...at(pipeline.settled_through)],
  ];
  if (!ledger) return [...found, ["Ledger", "none is kept"]];
  const witnesses = `${ledger.witnesses} of ${ledger.witnesses_needed} witnesses`;
  const isShort = ledger.witnesses < ledger.witnesses_needed;
  return [
    ...found,
    ["Ledger", `${count(ledger.size)} entries, ${count(ledger.pending)} pending`],
    ["Ledger witnessed", isShort ? chip("poor", "◆", `${witnesses}: unwitnessed`) : ledger.witnesses_needed ? chip("good", "●", witnesses) : "no witness is asked for"],
    ["Ledger's checkpoint", ...at(ledger.checkpoint_at)],
  ];
}

function nodeColumns(context) {
  const number = (key, label, text = count, isLow = true) => ({ key, label, isNumber: true, isLow, isFixed: true, value: (row) => row[key], text: (row) => (row.recorded_at ? text(row[key]) : NONE) });
  return [
    {
      key: "node",
      label: "Node",
      isHead: true,
      isFixed: true,
      value: (row) => row.node,
      make: (row) => h("span", {}, row.node, sourceLink(context, row.asset, null, row.node)),
    },
    {
      key: "state",
      label: "State",
      isFixed: true,
      make: () => h("span"),
      update: (badge, row) => setChip(badge, ...stateOf(row)),
    },
    {
      key: "recorded_at",
      label: "Reported",
      isFixed: true,
      make: () => h("span"),
      update: (box, row) => {
        if (box.dataset.at === String(row.recorded_at)) return;
        box.dataset.at = String(row.recorded_at);
        box.replaceChildren(row.recorded_at ? ageOf(row.recorded_at) : "never");
      },
    },
    { key: "source", label: "By", isFixed: true, isLow: true, value: (row) => row.source, text: (row) => SOURCES[row.source] ?? row.source ?? NONE },
    number("windows", "Windows"),
    number("rows_in", "Rows in"),
    number("rows_out", "Rows out"),
    { ...number("rate", "Rows/s"), text: (row) => (row.duration_s ? count(Math.round(row.rows_out / row.duration_s)) : NONE) },
    number("shed", "Shed"),
    number("quarantined", "Quar."),
    number("duration_s", "Took", duration, false),
    number("lag_s", "Lag", duration, false),
    number("anomaly_score", "Unusual", (value) => (value === null ? NONE : value.toFixed(2))),
  ];
}

function stateOf(row) {
  if (!row.recorded_at) return ["gone", "○", "no report"];
  if (row.is_within_thresholds === null) return ["", "●", "reported"];
  return row.is_within_thresholds ? ["good", "●", "within limits"] : ["bad", "▲", "out of limits"];
}

const SLOT_COLUMNS = [
  { key: "slot_id", label: "Slot", isHead: true, isFixed: true, text: (row) => String(row.slot_id).padStart(2, "0") },
  { key: "model_id", label: "Model", isFixed: true, text: (row) => `${row.model_id} ${row.version}` },
  {
    key: "active",
    label: "State",
    isFixed: true,
    make: () => h("span"),
    update: (badge, row) => setChip(badge, ...(row.active ? ["good", "●", "active"] : ["gone", "○", "disabled"])),
  },
  { key: "outcomes", label: "Answers of the window", isFixed: true, text: outcomes },
];

function outcomes(row) {
  const words = Object.entries(row.outcomes).map(([name, n]) => `${count(n)} ${name.replaceAll("_", " ")}`);
  return words.join(", ") || "none";
}

const REASON_COLUMNS = [
  { key: "reason", label: "Reason", isHead: true, isFixed: true, text: (row) => row.reason.replaceAll("_", " ") },
  { key: "n", label: "Snapshots", isNumber: true, isFixed: true, text: (row) => count(row.n) },
];

const PAUSE_MS = 10000;
const MOST_ACTIONS = 10;
const DEEDS = { acknowledge: "acknowledged incident", end_storm: "ended storm" };

function actionItem(one) {
  const deed = `${DEEDS[one.action] ?? one.action} ${one.subject ?? ""}`;
  return h("li", {}, h("strong", {}, one.done_by), deed, h("span", { class: "muted" }, ageOf(one.done_at)));
}

/** What operators did: the newest first. */
function operatorActions(context) {
  const list = h("ul", { class: "brief" });
  const words = h("p", { class: "muted" });
  let loadedAt = -Infinity;
  let isGone = false;

  async function load() {
    if (performance.now() - loadedAt < PAUSE_MS) return;
    loadedAt = performance.now();
    try {
      const answer = await actions(context.fleet);
      if (isGone) return;
      const found = answer.slice(0, MOST_ACTIONS);
      setText(words, found.length ? "" : "No operator has acknowledged or ended anything here.");
      list.replaceChildren(...found.map((one) => actionItem(one)));
      show(list, found.length > 0);
    } catch (error) {
      if (!isGone) setText(words, error.message);
    }
  }

  return {
    element: h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "What operators did")), words, list),
    load,
    destroy() {
      isGone = true;
    },
  };
}
