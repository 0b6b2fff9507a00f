// What stands around every view: the head with navigation, search and tools, the banners, and room for the view.

import { banners } from "./banners.js";
import { h, setAttribute, setText, show } from "./dom.js";
import { TITLES, VIEWS, address } from "./routes.js";
import { search } from "./search.js";
import { lastSite } from "./views/site.js";

const LINK_WORDS = { connecting: "connecting", live: "live", lost: "disconnected" };

/**
 * @param {{session: any, current: () => any, does: Record<string, any>}} given
 */
export function frame({ session, current, does }) {
  const links = Object.fromEntries(VIEWS.map((view, i) => [view, navLink(view, i + 1)]));
  const chooser = h("select", { "aria-label": "Fleet", onchange: (e) => does.fleet(e.target.value) });
  const finder = search(current);
  const state = h("span", { class: "link-state", role: "status" });
  const main = h("main", { id: "main", tabindex: "-1" });
  const notes = banners(does);
  const theme = h("button", { type: "button", onclick: does.theme, "aria-label": "Switch between light and dark", title: "Light or dark ( t )" }, "◐");
  const help = h("button", { type: "button", onclick: does.help, "aria-label": "Keys and help", title: "Keys ( ? )" }, "?");
  const leave = h("button", { type: "button", onclick: does.logout, title: `${session.name} (${session.role})` }, "Log out");
  const element = h(
    "div",
    {},
    h("a", { class: "skip", href: "#main", onclick: (e) => { e.preventDefault(); main.focus(); } }, "Skip to the view"),
    h(
      "header",
      { class: "head" },
      h(
        "div",
        { class: "head-row" },
        h("div", { class: "brand" }, h("img", { src: "/static/icon.svg", alt: "" }), brandOf(session, chooser)),
        h("nav", { class: "nav", "aria-label": "Views" }, ...VIEWS.map((view) => links[view])),
        h("span", { class: "spring" }),
        finder.element,
        state,
        h("div", { class: "tools" }, h("span", { class: "who muted small" }, `${session.name}, ${session.role}`), theme, help, leave),
      ),
    ),
    notes.element,
    main,
  );
  return {
    element,
    main,
    focusSearch: () => finder.input.focus(),
    place(route) {
      for (const view of VIEWS) {
        setAttribute(links[view], "href", view === "site" ? lastSite(route.fleet) : address(route.fleet, view));
        setAttribute(links[view], "aria-current", view === route.view ? "page" : null);
      }
      if (chooser.value !== route.fleet) chooser.value = route.fleet;
    },
    link(kind) {
      setText(state, LINK_WORDS[kind]);
    },
    incidents(n) {
      const badge = links.incidents.querySelector(".count");
      setText(badge, String(n));
      setAttribute(badge, "aria-label", `${n} open`);
      show(badge, n > 0);
    },
    banners: notes.draw,
  };

  function navLink(view, key) {
    const badge = view === "incidents" ? h("span", { class: "count", role: "img", hidden: true }) : null;
    return h("a", { title: `${TITLES[view]} ( ${key} )`, "aria-keyshortcuts": String(key) }, TITLES[view], badge);
  }
}

/** The name of the fleet, or a choice where there are several. */
function brandOf(session, chooser) {
  if (session.fleets.length < 2) return h("span", {}, session.fleets[0] ?? "Fleet");
  chooser.append(...session.fleets.map((name) => h("option", { value: name }, name)));
  return chooser;
}
