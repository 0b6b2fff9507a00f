// The page of those who have shown no token yet, or whose token is no longer valid.

import { login } from "./api.js";
import { h, show } from "./dom.js";

const REASONS = {
  expired: "Your token has expired. What was shown is gone from this page; log in with another token.",
  revoked: "Your token was revoked. What was shown is gone from this page; log in with another token.",
};

/** Takes a token from the address (`#token=…`), and removes it from there and from the history. */
export function tokenOfAddress() {
  const found = /^#token=([^&]+)$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", location.pathname);
  return decodeURIComponent(found[1]);
}

/** @param {string} reason @param {() => void} done */
export function loginPage(reason, done) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const input = h("input", { name: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const submit = h("button", { class: "primary", type: "submit" }, "Log in");
  const say = (words) => {
    problem.textContent = words;
    show(problem, Boolean(words));
  };
  const form = h(
    "form",
    {},
    h("h1", {}, "Fleet dashboard"),
    h("label", {}, "Token", input),
    h("p", { class: "muted small" }, "Whoever runs the dashboard makes one: ", h("code", {}, "fleet tokens create NAME --role viewer")),
    problem,
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await login(input.value.trim());
      done();
    } catch (error) {
      say(error.message);
    } finally {
      submit.disabled = false;
    }
  });
  say(REASONS[reason] ?? reason ?? "");
  queueMicrotask(() => input.focus());
  return h("main", { class: "login" }, form);
}
