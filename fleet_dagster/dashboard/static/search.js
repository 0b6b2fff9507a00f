// Search for a site or a region by a part of its name, with the keyboard alone if need be: a combobox with a list.

import { h, setAttribute, show } from "./dom.js";
import { regionAddress, siteAddress } from "./parts.js";
import { cellOf } from "./words.js";

const MOST = 12;
let made = 0;

/** @param {() => {snapshot: any, fleet: string}} current */
export function search(current) {
  const id = `found-${(made += 1)}`;
  const input = h("input", {
    type: "search",
    placeholder: "Find a site ( / )",
    "aria-label": "Find a site or region",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": id,
    "aria-autocomplete": "list",
    autocomplete: "off",
    spellcheck: "false",
  });
  const list = h("div", { class: "found", id, role: "listbox", "aria-label": "Sites and regions found", hidden: true });
  const said = h("span", { class: "visually-hidden", role: "status" });
  const box = h("div", { class: "search" }, input, list, said);
  let chosen = 0;

  const close = () => {
    show(list, false);
    setAttribute(input, "aria-expanded", "false");
    setAttribute(input, "aria-activedescendant", null);
  };
  const choose = (n) => {
    const options = [...list.querySelectorAll("[role=option]")];
    if (!options.length) return;
    chosen = (n + options.length) % options.length;
    options.forEach((one, i) => setAttribute(one, "aria-selected", String(i === chosen)));
    setAttribute(input, "aria-activedescendant", options[chosen].id);
    options[chosen].scrollIntoView({ block: "nearest" });
  };
  const go = (address) => {
    input.value = "";
    close();
    input.blur();
    location.hash = address;
  };
  const look = () => {
    const { snapshot, fleet } = current();
    const text = input.value.trim().toLowerCase();
    if (!text || !snapshot) return close();
    const found = matches(snapshot, fleet, text);
    list.replaceChildren(...found.map((one, i) => option(one, `${id}-${i}`, go)));
    if (!found.length) list.append(h("p", { class: "nothing" }, "No site or region has that in its name."));
    said.textContent = found.length ? `${found.length} found` : "nothing found";
    show(list, true);
    setAttribute(input, "aria-expanded", "true");
    return choose(0);
  };
  input.addEventListener("input", look);
  input.addEventListener("blur", () => setTimeout(close, 150));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter") list.querySelector("[aria-selected=true]")?.click();
    else if (event.key === "Escape") {
      input.value = "";
      close();
      input.blur();
    } else return;
    event.preventDefault();
  });
  return { element: box, input };
}

/** Names that begin with the text come first. */
function matches(snapshot, fleet, text) {
  const sites = snapshot.sites.site_id.map((name, row) => ({
    name,
    hint: snapshot.sites.region_id[row],
    address: siteAddress(fleet, name),
    cell: cellOf(snapshot.sites, row),
  }));
  const regions = snapshot.regions.map((one) => ({
    name: one.region_id,
    hint: "region",
    address: regionAddress(fleet, one.region_id),
    cell: null,
  }));
  const holds = [...regions, ...sites].filter((one) => one.name.toLowerCase().includes(text));
  const begins = (one) => (one.name.toLowerCase().startsWith(text) ? 0 : 1);
  return holds.sort((a, b) => begins(a) - begins(b)).slice(0, MOST);
}

function option(one, id, go) {
  const cell = one.cell && h("span", { class: `cell ${one.cell.tone}`, "aria-hidden": true }, one.cell.mark);
  return h(
    "div",
    { role: "option", id, "aria-selected": "false", onmousedown: (e) => e.preventDefault(), onclick: () => go(one.address) },
    cell,
    h("span", {}, one.name),
    h("span", { class: "muted small" }, one.cell ? `${one.hint}, ${one.cell.words}` : one.hint),
  );
}
