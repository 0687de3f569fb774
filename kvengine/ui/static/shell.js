// What is around every view: where one is, which database this is, and how it is reached.

import { button, el, put } from "./dom.js";
import { to } from "./route.js";

const MODES = {
  live: ["live", (pulse) => `through process ${pulse.pid}, which owns the database`],
  own: ["owned here", () => "kvengine ui owns the database as long as it runs; no application can open it meanwhile"],
  server: ["server", () => "on a PostgreSQL server; several processes may write there"],
  files: ["files", () => "read from its files; no owner that could be asked"],
};

export class Shell {
  constructor({ theme, help }) {
    this.mode = el("span", { class: "mode" });
    this.access = el("span", { class: "access" });
    this.path = el("span", { class: "path" });
    this.crumbs = el("ol");
    this.banner = el("div", { class: "banner", role: "status", hidden: true });
    this.links = { services: el("a", { href: to.services() }, "Services"), storage: el("a", { href: to.storage() }, "Storage") };
    this.state = null;
    put(
      document.getElementById("bar"),
      el(
        "div",
        { class: "top" },
        el("a", { class: "brand", href: to.services() }, "kvengine"),
        el("nav", { "aria-label": "Views" }, this.links.services, this.links.storage),
        el("div", { class: "whose" }, this.path, this.mode, this.access),
        el("div", { class: "switches" }, button("◐", theme, { kind: "icon", "aria-label": "Light or dark", title: "Light or dark (t)" }), button("?", help, { kind: "icon", "aria-label": "Keys", title: "Keys (?)" })),
      ),
      el("nav", { class: "crumbs", "aria-label": "Where you are" }, this.crumbs),
      this.banner,
    );
  }

  /** Where one is. */
  at(view, crumbs) {
    for (const [name, link] of Object.entries(this.links)) {
      const here = name === "storage" ? view === "storage" : view !== "storage";
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.crumbs.parentNode.hidden = crumbs.length < 2;
    put(
      this.crumbs,
      crumbs.map(([name, href]) => el("li", {}, href ? el("a", { href }, name) : el("span", { "aria-current": "page" }, name))),
    );
  }

  /** Which database, and how it is reached; says so when that changes. */
  pulse(now) {
    const before = this.state;
    this.state = now;
    const [word, explained] = MODES[now.mode];
    put(this.path, el("bdi", {}, now.path));
    this.path.title = now.path;
    this.mode.className = `mode ${now.mode}`;
    put(this.mode, word);
    this.mode.title = explained(now);
    this.access.className = `access ${now.writable ? "write" : ""}`;
    put(this.access, now.writable ? "edits on" : "read-only");
    this.access.title = now.writable ? "Edits are written at once" : now.write ? "Nobody who could write has the database open" : "Start kvengine ui with --write to edit";
    document.documentElement.classList.toggle("read-only", !now.writable);
    if (now.note) this.tell(now.note);
    else if (before !== null) this.compare(before, now);
  }

  compare(before, now) {
    if (before.mode === now.mode && before.pid === now.pid) {
      if (before.silent || before.note) this.tell("");
      return;
    }
    if (before.mode === "live" && now.mode === "files") {
      this.tell(`The owner, process ${before.pid}, has ended. What it left is read from the files${now.write ? "; edits are off until an owner is back" : ""}.`);
    } else if (now.mode === "live") {
      this.tell(`Process ${now.pid} has opened the database; from now on this page asks it.`);
    }
  }

  /** The server does not answer. */
  silent(reason) {
    if (this.state) this.state.silent = true;
    this.tell(reason);
  }

  tell(text) {
    this.banner.hidden = text === "";
    put(this.banner, text, text && button("×", () => this.tell(""), { kind: "icon", "aria-label": "Close this message" }));
  }
}
