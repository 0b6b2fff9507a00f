// Sets the theme before anything is painted; it is no module, since those run after the first paint.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("fleet.theme");
  } catch {
    // Storage may be forbidden; then the system's theme holds.
  }
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = chosen ?? (isDark ? "dark" : "light");
})();
