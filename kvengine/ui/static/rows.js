// Lists of rows that are kept while their data changes, and walked with the keyboard.

import { el, put } from "./dom.js";

/** The body of a table whose rows stand for things with an id. */
export class Rows {
  constructor(make) {
    this.make = make;
    this.node = el("tbody");
    this.known = new Map();
  }

  /** Show these things, in order; rows of those that have not changed stay as they are. */
  show(things, idOf, { flash = false } = {}) {
    const next = new Map();
    for (const thing of things) {
      const id = idOf(thing);
      const text = JSON.stringify(thing);
      const old = this.known.get(id);
      if (old && old.text === text) {
        next.set(id, old);
        continue;
      }
      const row = this.make(thing);
      if (flash) row.classList.add("changed");
      next.set(id, { text, row });
    }
    const focused = [...this.known].find(([, { row }]) => row.contains(document.activeElement));
    this.known = next;
    const rows = [...next.values()].map(({ row }) => row);
    const same = rows.length === this.node.children.length && rows.every((row, at) => row === this.node.children[at]);
    if (!same) put(this.node, rows);
    if (focused && next.has(focused[0]) && !this.node.contains(document.activeElement)) {
      next.get(focused[0]).row.querySelector(".row-link")?.focus();
    }
  }
}

/** Move the focus among what can be opened in the page; where it is on none of it, to the first. */
export function walk(step) {
  const links = [...document.querySelectorAll("main .row-link")].filter((each) => each.offsetParent !== null);
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const to = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step));
  links[to].focus();
  links[to].closest("tr, li, .entry")?.scrollIntoView({ block: "nearest" });
}

/** A head of a table. `columns`: titles; those with a number of the class `n`. */
export function head(...columns) {
  return el("thead", {}, el("tr", {}, columns.map(([title, kind]) => el("th", { scope: "col", class: kind }, title))));
}
