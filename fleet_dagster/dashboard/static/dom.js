// Elements, made and changed. Text is only ever set as text: nothing that was measured or typed becomes markup.

/**
 * Makes an element. `class` and other names are attributes, `on…` are listeners, false and null are left out.
 * @param {string} tag
 * @param {Record<string, any>} [given]
 * @param {...(Node|string|null|undefined)} children
 */
export function h(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

/** Sets an element's text if it differs: what has not changed is not laid out again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setClass(element, text) {
  if (element.className !== text) element.className = text;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/**
 * Makes a container's children those of some keys, in their order. What stays is not made anew, so focus and selection stay.
 * @param {Element} box
 * @param {Map<string, Element>} known children by key, kept by the caller
 * @param {string[]} keys
 * @param {(key: string) => Element} make
 */
export function keyed(box, known, keys, make) {
  const wanted = new Set(keys);
  for (const [key, child] of known) {
    if (!wanted.has(key)) {
      child.remove();
      known.delete(key);
    }
  }
  let place = box.firstElementChild;
  for (const key of keys) {
    let child = known.get(key);
    if (!child) {
      child = make(key);
      known.set(key, child);
    }
    if (child === place) place = place.nextElementSibling;
    else box.insertBefore(child, place);
  }
}
