// Dialogs: acknowledge an incident, end a storm, help. They are the browser's own, so Esc closes them and focus comes back.

import { acknowledge, endStorm } from "./api.js";
import { h, show } from "./dom.js";
import { areOn, switchKeys } from "./keyboard.js";
import { TRUTHS } from "./words.js";

const KEYS = [
  [["1", "…", "6"], "the views, from left to right"],
  [["/"], "find a site or region"],
  [["←", "→", "↑", "↓"], "among the cells of the map, and the rows of a table"],
  [["Enter"], "open what is chosen"],
  [["Esc"], "close a dialog or the search"],
  [["t"], "light or dark"],
  [["?"], "this help"],
];

export function helpDialog(version) {
  const rows = KEYS.flatMap(([keys, words]) => [
    h("dt", {}, ...keys.map((key) => (key === "…" ? " … " : h("kbd", {}, key)))),
    h("dd", {}, words),
  ]);
  const isOn = h("input", { type: "checkbox", checked: areOn(), onchange: (e) => switchKeys(e.target.checked) });
  open("Keys", [
    h("dl", { class: "keys" }, ...rows),
    h("label", { class: "inline" }, isOn, "Keys of a single letter or digit are on"),
    h("p", { class: "muted small" }, `All times are UTC; hovering shows your own. Fleet Dagster ${version}.`),
  ]);
}

/** @param {any} incident @param {() => void} done */
export function acknowledgeDialog(fleet, incident, done) {
  const said = incident.acknowledgement;
  const truths = Object.entries(TRUTHS).map(([value, words]) =>
    h(
      "label",
      { class: "inline" },
      h("input", { type: "radio", name: "truth", value, checked: (said?.truth ?? "unknown") === value }),
      words,
    ),
  );
  const causes = h(
    "select",
    { name: "cause" },
    h("option", { value: "" }, "not known"),
    ...incident.sites.map((site) => h("option", { value: site }, site)),
  );
  const note = h("textarea", { name: "note", maxlength: "2000", placeholder: "What you found, who is on it" });
  note.value = said?.note ?? "";
  form(
    `Acknowledge: ${incident.pattern.replaceAll("_", " ")}, ${incident.domain}`,
    [
      h("p", { class: "muted small" }, "Others see that somebody knows of it. What it turned out to be can be said later, too."),
      h("fieldset", {}, h("legend", {}, "What is it?"), ...truths),
      h("label", { class: "stack" }, h("span", {}, "Site where it began"), causes),
      h("label", { class: "stack" }, h("span", {}, "Note (may be left out)"), note),
    ],
    "Acknowledge",
    (given) => {
      const content = Object.fromEntries([...given].filter(([, value]) => value.trim() !== ""));
      return acknowledge(fleet, incident.incident_id, content);
    },
    done,
  );
}

export function stormDialog(fleet, storm, done) {
  form(
    "End the storm?",
    [
      h("p", {}, `From the next window that is not yet computed on, KPIs of all sites of ${fleet} are read again, and figures are exact.`),
      h("p", { class: "muted small" }, "If the fleet is still restless, another storm begins by itself. Who ended it is recorded."),
    ],
    "End the storm",
    () => endStorm(fleet, storm.episode_id),
    done,
  );
}

function form(title, content, verb, send, done) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const submit = h("button", { class: "primary", type: "submit" }, verb);
  const cancel = h("button", { type: "button" }, "Cancel");
  const made = h("form", { method: "dialog" }, ...content, problem, h("div", { class: "buttons" }, cancel, submit));
  const dialog = open(title, [made], false);
  cancel.addEventListener("click", () => dialog.close());
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    show(problem, false);
    try {
      await send(new FormData(made));
      dialog.close();
      done?.();
    } catch (error) {
      problem.textContent = error.message;
      show(problem, true);
    } finally {
      submit.disabled = false;
    }
  });
}

function open(title, content, hasClose = true) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const buttons = hasClose ? [h("div", { class: "buttons" }, close)] : [];
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, heading, h("div", { class: "stack" }, ...content, ...buttons));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
