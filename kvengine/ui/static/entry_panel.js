// An open entry: its value in several ways, and what can be done to it.

import { download, read } from "./api.js";
import { button, el, put } from "./dom.js";
import { bytesOf, textOf, toHex } from "./bytes.js";
import { editor } from "./editor.js";
import { exact, bytes as size } from "./format.js";
import { named } from "./names.js";
import { confirm } from "./dialogs.js";
import { copy, failed } from "./notes.js";
import { pretty } from "./json_text.js";
import { shown, ways } from "./value_view.js";

const TITLES = { json: "JSON", text: "Text", hex: "Hex" };

export class EntryPanel {
  /** `page`: as of Entries, with loaded(entry) and focus(). */
  constructor(entry, page) {
    this.entry = entry;
    this.page = page;
    this.way = null;
    this.editor = null;
    this.node = el("div", { class: "panel" });
    this.ready = entry.omitted ? this.load() : Promise.resolve(this.read());
    this.ready.catch(failed);
  }

  async load() {
    const { service, key } = this.page;
    put(this.node, el("p", { class: "muted" }, "Loading…"));
    const { data } = await read("entry", { service, key, state_key: this.entry.state_key });
    this.entry = data;
    // Of another version than the list, the list will follow in a moment, and this with it.
    if (data.version === this.page.base()?.version) this.page.loaded(data);
    this.read();
  }

  /** Show the value. */
  read() {
    this.editor = null;
    const bytes = bytesOf(this.entry);
    const possible = ways(this.entry, bytes);
    if (!possible.includes(this.way)) [this.way] = possible;
    const tabs = possible.map((each) =>
      button(TITLES[each], () => this.turn(each), { kind: "tab", "aria-pressed": String(each === this.way) }),
    );
    const { service, key } = this.page;
    const file = download("value", { service, key, state_key: this.entry.state_key });
    put(
      this.node,
      el(
        "div",
        { class: "panel-bar" },
        el("div", { class: "tabs", role: "group", "aria-label": "How to show the value" }, tabs),
        el(
          "div",
          { class: "tools" },
          this.entry.cut ? null : button("Edit", () => this.edit().catch(failed), { class: "button small writes", title: "e" }),
          button("Copy", () => this.copy(), { kind: "small", title: "c" }),
          el("a", { class: "button small", href: file, download: "value.bin" }, "Download"),
          button("Clear entry…", () => this.clear().catch(failed), { class: "button small danger quiet writes" }),
        ),
      ),
      this.entry.cut ? el("p", { class: "note" }, `The beginning of ${size(this.entry.size)}. Download it to see all; edit it with kvengine kv set.`) : null,
      shown(bytes, this.way),
      this.entry.expires_at === null ? null : el("p", { class: "muted small" }, `This entry expires at ${exact(this.entry.expires_at)}.`),
    );
  }

  turn(way) {
    this.way = way;
    this.read();
    this.node.querySelector('[aria-pressed="true"]')?.focus();
  }

  dirty() {
    return this.editor?.dirty() ?? false;
  }

  stop() {
    if (this.editor) this.read();
  }

  async edit() {
    await this.ready;
    if (!this.page.writable() || this.entry.cut || this.editor) return;
    const stateKey = this.entry.state_key;
    this.editor = editor({
      base: bytesOf(this.entry),
      way: this.way,
      expiresAt: this.entry.expires_at,
      save: (entry, ttl) => {
        const change = { verb: "set", state_key: stateKey, entry, ...(ttl === null ? {} : { ttl }) };
        this.page.edit([change], "Saved").catch(failed);
      },
      cancel: async () => {
        if (this.dirty() && !(await confirm("Drop your changes?", "What you typed has not been saved.", "Drop my changes"))) return;
        this.read();
        this.page.focus();
      },
    });
    put(this.node, this.editor.node);
    this.editor.focus();
  }

  copy() {
    const bytes = bytesOf(this.entry);
    if (bytes === null) return;
    const text = textOf(bytes);
    const what = this.way === "hex" || text === null ? toHex(bytes) : this.way === "json" ? pretty(text) : text;
    copy(what, this.entry.cut ? "The beginning of the value" : "Value");
  }

  async clear() {
    if (!this.page.writable()) return;
    if (await confirm("Clear this entry?", ["The entry ", named(this.entry.state_key), " is cleared. There is no way back."], "Clear entry")) {
      await this.page.edit([{ verb: "clear", state_key: this.entry.state_key }], "Entry cleared");
    }
  }
}
