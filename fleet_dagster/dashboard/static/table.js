// A table whose rows are kept by key and changed in place; a head that sorts.

import { h, keyed, setAttribute, setClass, setText } from "./dom.js";

/**
 * @typedef {object} Column
 * @property {string} key
 * @property {string} label
 * @property {(row: any) => any} value what is sorted by
 * @property {(row: any) => string} [text] what is shown, unless `make` shows it
 * @property {(row: any) => Element} [make] the cell's content, made once
 * @property {(content: Element, row: any) => void} [update] and changed in place
 * @property {(row: any) => string|null} [hint] shown on hovering
 * @property {boolean} [isNumber]
 * @property {boolean} [isLow] left out on a phone
 * @property {boolean} [isHead] names the row
 * @property {boolean} [isFixed] not sorted by
 */

/**
 * @param {{caption: string, columns: Column[], key: (row: any) => string, sort?: {key: string, isDown: boolean}, onSort?: (sort: {key: string, isDown: boolean}) => void}} given
 */
export function table({ caption, columns, key, sort = null, onSort = null }) {
  const body = h("tbody");
  const heads = columns.map((column) => head(column, onSort && !column.isFixed ? () => turn(column) : null));
  const box = h(
    "div",
    { class: "table-box", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {}, h("caption", { class: "visually-hidden" }, caption), h("thead", {}, h("tr", {}, ...heads)), body),
  );
  const known = new Map();
  let order = sort;

  function turn(column) {
    const isDown = order?.key === column.key ? !order.isDown : Boolean(column.isNumber);
    order = { key: column.key, isDown };
    onSort(order);
  }

  return {
    element: box,
    /** Draws rows in the order of the chosen column, at most some of them. */
    draw(rows, most = Infinity) {
      markOrder(columns, heads, order);
      const shown = sorted(rows, columns, order).slice(0, most);
      const byKey = new Map(shown.map((row) => [key(row), row]));
      keyed(body, known, [...byKey.keys()], () => line(columns));
      for (const [name, element] of known) fill(element, columns, byKey.get(name));
    },
  };
}

/** Rows in order of a column; those without a value are last, whichever way. */
export function sorted(rows, columns, order) {
  const column = order && columns.find((one) => one.key === order.key);
  if (!column) return rows;
  const sign = order.isDown ? -1 : 1;
  const withValue = rows.map((row) => [column.value(row), row]);
  withValue.sort(([a], [b]) => {
    const isMissing = (a ?? null) === null;
    if (isMissing !== ((b ?? null) === null)) return isMissing ? 1 : -1;
    if (a === b || isMissing) return 0;
    return a < b ? -sign : sign;
  });
  return withValue.map(([, row]) => row);
}

function head(column, onTurn) {
  const cell = h("th", { scope: "col", class: cellClass(column) });
  cell.append(onTurn ? h("button", { type: "button", onclick: onTurn }, column.label) : column.label);
  return cell;
}

function markOrder(columns, heads, order) {
  columns.forEach((column, i) => {
    const direction = order?.key === column.key ? (order.isDown ? "descending" : "ascending") : null;
    setAttribute(heads[i], "aria-sort", direction);
  });
}

function line(columns) {
  const cells = columns.map((column) =>
    h(column.isHead ? "th" : "td", { class: cellClass(column), scope: column.isHead ? "row" : null }),
  );
  return h("tr", {}, ...cells);
}

function cellClass(column) {
  return [column.isNumber && "number", column.isLow && "low"].filter(Boolean).join(" ") || null;
}

function fill(element, columns, row) {
  columns.forEach((column, i) => {
    const cell = element.children[i];
    if (column.make) {
      if (!cell.firstElementChild) cell.append(column.make(row));
      column.update?.(cell.firstElementChild, row);
    } else {
      setText(cell, column.text(row));
    }
    if (column.hint) setAttribute(cell, "title", column.hint(row));
    if (column.tone) setClass(cell, `${cellClass(column) ?? ""} ${column.tone(row)}`.trim());
  });
}
