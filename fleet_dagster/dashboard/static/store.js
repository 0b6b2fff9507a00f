// The newest picture of a fleet, and what has changed in it since the last drawing.

/**
 * @typedef {{isWhole: boolean, keys: Set<string>, rows: Set<number>}} Change
 * What is to be drawn anew: everything, or these keys of the snapshot and these rows of `sites`.
 */

export class FleetStore {
  constructor() {
    this.snapshot = null;
    this.id = "";
    /** @type {Map<string, number>} */
    this.rowOf = new Map();
    this.change = noChange();
  }

  /** Takes one event of the stream. */
  apply(name, data, id) {
    if (name === "snapshot") this.replace(data);
    else this.patch(data);
    this.id = id;
  }

  replace(snapshot) {
    const sites = snapshot.sites;
    const isSame = this.snapshot && sameList(this.snapshot.sites.site_id, sites.site_id);
    this.snapshot = snapshot;
    this.change.isWhole = true;
    if (!isSame) this.rowOf = new Map(sites.site_id.map((site, row) => [site, row]));
  }

  patch(update) {
    if (!this.snapshot) return;
    const { sites, ...others } = update;
    Object.assign(this.snapshot, others);
    for (const key of Object.keys(others)) this.change.keys.add(key);
    if (sites) this.patchSites(sites);
  }

  patchSites({ at, values }) {
    this.change.keys.add("sites");
    if ("region_id" in values) this.change.keys.add("site_regions");
    for (const row of at) this.change.rows.add(row);
    for (const [name, column] of Object.entries(values)) {
      const own = this.snapshot.sites[name];
      at.forEach((row, i) => {
        own[row] = column[i];
      });
    }
  }

  /** Returns what has changed since it was last asked, and begins anew. @returns {Change} */
  takeChange() {
    const taken = this.change;
    this.change = noChange();
    return taken;
  }

  /** One site as an object; undefined where there is none of that name. */
  site(id) {
    const row = this.rowOf.get(id);
    return row === undefined ? undefined : siteAt(this.snapshot.sites, row);
  }
}

/** A row of the columns. */
export function siteAt(sites, row) {
  const found = { row };
  for (const name in sites) found[name] = sites[name][row];
  return found;
}

export function everything() {
  return { isWhole: true, keys: new Set(), rows: new Set() };
}

/** Whether any of some keys must be drawn anew. */
export function touches(change, ...keys) {
  return change.isWhole || keys.some((key) => change.keys.has(key));
}

function noChange() {
  return { isWhole: false, keys: new Set(), rows: new Set() };
}

function sameList(one, other) {
  return one.length === other.length && one.every((value, i) => value === other[i]);
}
