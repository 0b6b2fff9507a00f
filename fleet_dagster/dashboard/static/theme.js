// The theme: the system's, until somebody chooses.

const KEY = "fleet.theme";
const listeners = new Set();

export function currentTheme() {
  return document.documentElement.dataset.theme;
}

export function toggleTheme() {
  const next = currentTheme() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
  show(next);
}

/** Calls back after each change: charts are painted, and must be painted again. */
export function onTheme(callback) {
  listeners.add(callback);
  return () => listeners.delete(callback);
}

/** A colour of the theme, by the name of its CSS variable. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
  if (!chosen()) show(event.matches ? "dark" : "light");
});

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function show(theme) {
  document.documentElement.dataset.theme = theme;
  for (const callback of listeners) callback(theme);
}
