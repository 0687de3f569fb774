// The entries of an object as a list that opens in place, one at a time.

import { el, put } from "./dom.js";
import { bytesOf } from "./bytes.js";
import { bytes as size, exact, when } from "./format.js";
import { named } from "./names.js";
import { confirm } from "./dialogs.js";
import { EntryPanel } from "./entry_panel.js";
import { failed } from "./notes.js";

const PREVIEW = 160;

export class Entries {
  /** `page`: service, key, base(), writable(), opened(name), edit(changes, said). */
  constructor(page) {
    this.page = page;
    this.node = el("ul", { class: "entries", "aria-label": "Entries" });
    this.rows = new Map();
    this.current = null;
    this.panel = null;
  }

  /** Show the object's entries; what is open stays open, and follows if it is only being read. */
  show(object, { flash = false } = {}) {
    const old = this.rows;
    this.rows = new Map();
    for (const entry of object?.entries ?? []) {
      const text = JSON.stringify(entry);
      const known = old.get(entry.state_key);
      if (known && known.text === text) {
        this.rows.set(entry.state_key, known);
        continue;
      }
      const row = this.row(entry);
      if (flash) row.classList.add("changed");
      this.rows.set(entry.state_key, { text, row, entry });
    }
    const focused = [...old].find(([, { row }]) => row.querySelector(".row-link") === document.activeElement);
    const nodes = [...this.rows.values()].map(({ row }) => row);
    if (nodes.length !== this.node.children.length || nodes.some((row, at) => row !== this.node.children[at])) put(this.node, nodes);
    if (focused) this.rows.get(focused[0])?.row.querySelector(".row-link").focus();
    if (this.current === null) return;
    const now = this.rows.get(this.current);
    if (!now) this.fold();
    else if (now !== old.get(this.current)) this.unfold(this.current);
  }

  row(entry) {
    const toggle = el(
      "button",
      { type: "button", class: "row-link", "aria-expanded": "false", on: { click: () => this.toggle(entry.state_key).catch(failed) } },
      el("span", { class: "state-key" }, named(entry.state_key, 80)),
      el("span", { class: "preview" }, preview(entry)),
      el("span", { class: "about" }, entry.expires_at === null ? null : el("time", { class: "soon", "data-when": entry.expires_at, title: `expires ${exact(entry.expires_at)}` }, when(entry.expires_at)), el("span", { class: "size" }, entry.size === null ? "" : size(entry.size)), el("span", { class: "tag" }, entry.type ?? "large")),
    );
    return el("li", { class: "entry" }, toggle);
  }

  async toggle(name) {
    if (!(await this.mayLeave())) return;
    const was = this.current;
    this.fold();
    if (was !== name) this.open(name);
    else this.page.opened(null);
  }

  /** Open an entry, if it is there. */
  open(name) {
    if (!this.rows.has(name)) return;
    if (this.current !== name) this.fold();
    this.unfold(name);
    this.page.opened(name);
    const link = this.rows.get(name).row.querySelector(".row-link");
    link.focus();
    link.scrollIntoView({ block: "nearest" });
  }

  unfold(name) {
    this.panel?.node.remove();
    const { row, entry } = this.rows.get(name);
    this.current = name;
    this.panel = new EntryPanel(entry, {
      ...this.page,
      // A value fetched later is what an edit of it began with.
      loaded: (whole) => Object.assign(entry, whole, { omitted: false }),
      focus: () => row.querySelector(".row-link").focus(),
    });
    row.classList.add("open");
    row.firstChild.setAttribute("aria-expanded", "true");
    row.append(this.panel.node);
  }

  fold() {
    if (this.current === null) return;
    const row = this.rows.get(this.current)?.row;
    row?.classList.remove("open");
    row?.firstChild.setAttribute("aria-expanded", "false");
    this.panel.node.remove();
    this.panel = null;
    this.current = null;
  }

  dirty() {
    return this.panel?.dirty() ?? false;
  }

  /** Give up what is being edited. */
  stop() {
    this.panel?.stop();
  }

  async mayLeave() {
    if (!this.dirty()) return true;
    const drop = await confirm("Drop your changes?", "What you typed has not been saved.", "Drop my changes");
    if (drop) this.stop();
    return drop;
  }

  /** Edit what is open, else what the focus is on. */
  editOpen() {
    const at = [...this.rows].find(([, { row }]) => row.contains(document.activeElement));
    if (this.current === null && at) this.open(at[0]);
    this.panel?.edit().catch(failed);
  }

  copyOpen() {
    this.panel?.copy();
  }

  /** Close what is open; whether anything was. */
  close() {
    if (this.current === null) return false;
    const link = this.rows.get(this.current)?.row.firstChild;
    this.toggle(this.current).then(() => link?.focus(), failed);
    return true;
  }
}

function preview(entry) {
  if (entry.omitted) return el("span", { class: "muted" }, "shown when opened");
  if (entry.size === 0) return el("span", { class: "muted" }, "empty value");
  if (entry.text !== undefined) return named(entry.text.slice(0, 2 * PREVIEW).replace(/\s+/g, " ").trim(), PREVIEW);
  return [...bytesOf(entry).subarray(0, 24)].map((each) => each.toString(16).padStart(2, "0")).join(" ");
}

