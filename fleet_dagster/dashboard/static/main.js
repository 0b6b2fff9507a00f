// The page: who is looking, at which fleet and view, and when it is drawn.

import { Refusal, login, logout, session } from "./api.js";
import { ServerClock } from "./clock.js";
import { Connection } from "./connection.js";
import { helpDialog, stormDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { frame } from "./frame.js";
import { isOld, remarks, titleOf } from "./judgement.js";
import { listen } from "./keyboard.js";
import { loginPage, tokenOfAddress } from "./login.js";
import { empty, tickAges } from "./parts.js";
import { address, parse } from "./routes.js";
import { FleetStore, everything } from "./store.js";
import { toggleTheme } from "./theme.js";
import { incidentsView } from "./views/incidents.js";
import { nowView } from "./views/now.js";
import { pipelineView } from "./views/pipeline.js";
import { rankingView } from "./views/ranking.js";
import { regionsView } from "./views/regions.js";
import { lastSite, siteView } from "./views/site.js";

const MAKERS = {
  now: nowView,
  regions: regionsView,
  ranking: rankingView,
  site: siteView,
  incidents: incidentsView,
  pipeline: pipelineView,
};
const FRAME_MS = 16;
const RETRY_MS = 2000;
const app = document.getElementById("app");
/** @type {Page|null} */
let page = null;

class Page {
  constructor(who) {
    this.session = who;
    this.clock = new ServerClock();
    this.link = "connecting";
    this.problem = "";
    this.trouble = "";
    this.heardAtS = null;
    this.drawnAt = -Infinity;
    this.frame = frame({
      session: who,
      current: () => ({ snapshot: this.store?.snapshot, fleet: this.route?.fleet }),
      does: {
        fleet: (name) => this.go(address(name, this.route.view)),
        theme: toggleTheme,
        help: () => helpDialog(who.version),
        logout: () => this.leave(),
        retry: () => this.connection?.retryNow(),
        storm: () => stormDialog(this.route.fleet, this.store.snapshot.storm),
        mayEndStorm: () => who.role === "operator" && this.store?.snapshot?.storm?.end === null,
      },
    });
    app.replaceChildren(this.frame.element);
    this.ticker = setInterval(() => this.tick(), 1000);
    this.place();
  }

  close() {
    clearInterval(this.ticker);
    clearTimeout(this.pending);
    this.connection?.close();
    this.view?.destroy?.();
    document.querySelectorAll("dialog").forEach((one) => one.close());
  }

  go(to) {
    location.hash = to;
  }

  focusSearch() {
    this.frame.focusSearch();
  }

  showView(view) {
    this.go(view === "site" ? lastSite(this.route.fleet) : address(this.route.fleet, view));
  }

  async leave() {
    try {
      await logout();
    } finally {
      showLogin("");
    }
  }

  /** Takes the view from the address. */
  place() {
    const route = parse(location.hash);
    const { fleets } = this.session;
    if (!route.fleet && fleets.length) {
      history.replaceState(null, "", address(fleets[0], route.view));
      return this.place();
    }
    const before = this.route;
    this.route = route;
    this.frame.place(route);
    this.view?.destroy?.();
    this.view = null;
    if (!fleets.includes(route.fleet)) return this.noFleet(route);
    if (before?.fleet !== route.fleet || !this.connection) this.tune(route.fleet);
    this.open();
    if (before) this.frame.main.focus({ preventScroll: true });
    scrollTo(0, 0);
    return this.draw();
  }

  noFleet({ fleet }) {
    this.connection?.close();
    this.connection = null;
    const words = this.session.fleets.length ? `This token sees: ${this.session.fleets.join(", ")}.` : "This token sees no fleet, or none stands. `fleet init` makes one.";
    this.frame.main.replaceChildren(h("div", { class: "card" }, empty(fleet ? `There is no fleet ${fleet}` : "There is no fleet", words, "h1")));
    document.title = "Fleet dashboard";
  }

  tune(fleet) {
    this.connection?.close();
    this.store = new FleetStore();
    this.heardAtS = null;
    this.connection = new Connection(fleet, {
      event: (name, data, id) => {
        this.store.apply(name, data, id);
        this.trouble = "";
        this.heard();
        this.drawSoon();
      },
      beat: ({ now, trouble }) => {
        this.clock.set(now);
        this.trouble = trouble ?? "";
        this.heard();
      },
      state: (kind) => {
        this.link = kind;
        this.frame.link(kind);
        document.documentElement.dataset.link = kind;
        this.judge();
      },
      problem: (words) => {
        this.problem = words;
        this.judge();
      },
      end: (reason) => showLogin(reason),
    });
  }

  heard() {
    this.heardAtS = this.clock.now();
  }

  open() {
    const context = { fleet: this.route.fleet, route: this.route, session: this.session, clock: this.clock };
    this.view = MAKERS[this.route.view](context);
    this.isFresh = true;
    const waiting = h("div", { class: "card" }, empty("Waiting for the first picture", "The server is asked for the newest window.", "h1"));
    this.frame.main.replaceChildren(this.store.snapshot ? this.view.element : waiting);
  }

  /** Draws at once, but not more than once a frame; pages in the background keep their title true, too. */
  drawSoon() {
    if (this.pending) return;
    const left = this.drawnAt + FRAME_MS - performance.now();
    if (left <= 0) this.draw();
    else this.pending = setTimeout(() => this.draw(), left);
  }

  draw() {
    clearTimeout(this.pending);
    this.pending = null;
    const { store, view } = this;
    if (!store?.snapshot || !view) return this.judge();
    const change = this.isFresh ? everything() : store.takeChange();
    if (this.isFresh) {
      store.takeChange();
      this.isFresh = false;
      this.frame.main.replaceChildren(view.element);
    }
    view.draw(store.snapshot, change);
    this.frame.incidents(store.snapshot.incidents.filter((one) => one.is_open).length);
    this.tick();
    this.drawnAt = performance.now();
    dispatchEvent(new CustomEvent("fleet:drawn", { detail: { id: store.id, takenAt: store.snapshot.taken_at } }));
    return undefined;
  }

  tick() {
    tickAges(this.clock.now(), this.frame.main);
    this.judge();
  }

  /** Says what must be said of the picture, in banners, in the title, and in its colours. */
  judge() {
    if (!this.route || !this.store) return;
    const nowS = this.clock.now();
    const seen = { snapshot: this.store.snapshot, link: this.link, problem: this.problem, heardAtS: this.heardAtS, trouble: this.trouble, nowS };
    this.frame.banners(remarks(seen), nowS);
    document.documentElement.dataset.picture = isOld(seen) ? "old" : "new";
    const title = titleOf(seen, this.route.fleet);
    if (document.title !== title) document.title = title;
  }
}

function showLogin(reason) {
  page?.close();
  page = null;
  delete document.documentElement.dataset.picture;
  document.title = "Log in · Fleet dashboard";
  app.replaceChildren(loginPage(reason, enter));
}

async function enter() {
  try {
    page?.close();
    page = new Page(await session());
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) return showLogin("");
    document.title = "✕ disconnected · Fleet dashboard";
    app.replaceChildren(h("main", { class: "login" }, h("div", { class: "card" }, empty("The dashboard cannot be reached", `${error.message} Trying again by itself.`, "h1"))));
    setTimeout(enter, RETRY_MS);
  }
  return undefined;
}

async function start() {
  const token = tokenOfAddress();
  if (!token) return enter();
  try {
    await login(token);
  } catch (error) {
    return showLogin(error.message);
  }
  return enter();
}

listen({
  view: (name) => page?.showView(name),
  search: () => page?.focusSearch(),
  theme: toggleTheme,
  help: () => page && helpDialog(page.session.version),
});
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) start();
  else page?.place();
});
start();
