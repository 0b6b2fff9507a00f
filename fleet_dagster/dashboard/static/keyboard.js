// Keys: one for each view, for search, theme and help; arrows among cells of the map and rows of a table.

import { VIEWS } from "./routes.js";

const SWITCH = "fleet.keys";

/** @param {{view: (name: string) => void, search: () => void, theme: () => void, help: () => void}} does */
export function listen(does) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (moves(event)) return;
    if (isTyping(event.target) || !areOn()) return;
    const action = actionOf(event.key, does);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** Keys of one letter can be switched off: who speaks to the computer sends them by accident. */
export function areOn() {
  try {
    return localStorage.getItem(SWITCH) !== "off";
  } catch {
    return true;
  }
}

export function switchKeys(isOn) {
  try {
    localStorage.setItem(SWITCH, isOn ? "on" : "off");
  } catch {
    // Storage may be forbidden; keys then stay on.
  }
}

function actionOf(key, does) {
  const view = VIEWS[Number(key) - 1];
  if (view) return () => does.view(view);
  return { "/": does.search, t: does.theme, "?": does.help }[key];
}

function isTyping(target) {
  return target.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
}

/** Moves the focus by an arrow; false where it is not among cells or rows. */
function moves(event) {
  const cell = event.target.closest(".cell[href]");
  if (cell) return focusOn(nextCell(cell, event.key), event);
  const row = event.target.closest("tbody tr");
  if (row && event.target.matches("a, button")) return focusOn(nextRow(row, event.key), event);
  return false;
}

function focusOn(target, event) {
  if (!target) return false;
  event.preventDefault();
  target.focus();
  return true;
}

function nextCell(cell, key) {
  const cells = [...cell.closest(".map").querySelectorAll(".cell[href]")];
  const at = cells.indexOf(cell);
  if (key === "ArrowRight") return cells[at + 1];
  if (key === "ArrowLeft") return cells[at - 1];
  if (key === "Home") return cells[0];
  if (key === "End") return cells.at(-1);
  if (key === "ArrowDown" || key === "ArrowUp") return nearest(cell, cells, key === "ArrowDown" ? 1 : -1);
  return null;
}

/** The cell in the next line of cells, above or below, that is nearest to the same column. */
function nearest(cell, cells, direction) {
  const from = cell.getBoundingClientRect();
  let best = null;
  let least = Infinity;
  for (const one of cells) {
    const box = one.getBoundingClientRect();
    const down = (box.top - from.top) * direction;
    if (down < from.height / 2) continue;
    const distance = down * 10 + Math.abs(box.left - from.left);
    if (distance < least) [best, least] = [one, distance];
  }
  return best;
}

function nextRow(row, key) {
  const other = {
    ArrowDown: row.nextElementSibling,
    ArrowUp: row.previousElementSibling,
    Home: row.parentElement.firstElementChild,
    End: row.parentElement.lastElementChild,
  }[key];
  return other?.querySelector("a, button") ?? null;
}
