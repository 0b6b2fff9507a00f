// Addresses of views: `#/FLEET/VIEW/ID?filters`. They can be kept, sent and gone back to.

export const VIEWS = ["now", "regions", "ranking", "site", "incidents", "pipeline"];
export const TITLES = {
  now: "Now",
  regions: "Regions",
  ranking: "Ranking",
  site: "Site",
  incidents: "Incidents",
  pipeline: "Pipeline",
};

/** @returns {{fleet: string|null, view: string, id: string|null, asked: Record<string, string>}} */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [fleet, view, id] = path.split("/").map(plain);
  return {
    fleet: fleet || null,
    view: VIEWS.includes(view) ? view : "now",
    id: id || null,
    asked: Object.fromEntries(new URLSearchParams(query)),
  };
}

export function address(fleet, view, id = null, asked = {}) {
  const given = Object.entries(asked).filter(([, value]) => value !== "" && value !== null);
  const query = new URLSearchParams(given).toString();
  const path = [fleet, view, ...(id ? [id] : [])].map(encodeURIComponent).join("/");
  return `#/${path}${query ? `?${query}` : ""}`;
}

/** Changes the filters in the address without a new entry in the history. */
export function replaceAsked(route, asked) {
  route.asked = asked;
  history.replaceState(null, "", address(route.fleet, route.view, route.id, asked));
}

function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
