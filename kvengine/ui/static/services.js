// The services: how much each holds, and whether its objects expire.

import { read } from "./api.js";
import { button, el, put } from "./dom.js";
import { bytes, number } from "./format.js";
import { named, plain } from "./names.js";
import { Rows, head } from "./rows.js";
import { to } from "./route.js";
import { addObject } from "./add.js";
import { more, searchBox } from "./lists.js";

export async function view(place, route, page) {
  const state = { prefix: route.prefix, services: [], next: null, tag: null };
  const rows = new Rows(row);
  const table = el("table", { class: "list services" }, head(["Service"], ["Objects", "n"], ["On disk", "n"], ["Kind"], ["Expiring soon"]), rows.node);
  const nothing = el("div", { class: "nothing", hidden: true });
  const further = more(() => load(state.next));
  const search = searchBox("Find services by the beginning of their name", state.prefix, async (prefix) => {
    state.prefix = prefix;
    history.replaceState(null, "", to.services(prefix));
    await load(null);
  });
  const add = button("Add object…", () => addObject(page), { class: "button writes" });
  put(
    place,
    el("div", { class: "title" }, el("h1", {}, "Services"), el("div", { class: "tools" }, add)),
    search.node,
    table,
    nothing,
    further.node,
  );

  async function load(after, { flash = false, tag = null, limit = 50 } = {}) {
    const answer = await read("services", { prefix: state.prefix, after, limit }, { tag });
    if (answer.data === null) return;
    if (after === null) state.tag = answer.tag;
    state.services = after === null ? answer.data.services : [...state.services, ...answer.data.services];
    state.next = answer.data.next;
    show(flash);
  }

  function show(flash) {
    rows.show(state.services, (each) => each.service, { flash });
    further.show(state.next !== null);
    table.hidden = state.services.length === 0;
    nothing.hidden = state.services.length > 0;
    if (state.services.length) return;
    put(
      nothing,
      state.prefix
        ? [el("p", {}, "No service begins with ", named(state.prefix), ".")]
        : [el("p", {}, "This database holds no objects yet."), el("p", { class: "muted" }, "Services show up here as soon as something is written to one.")],
    );
  }

  await load(null);
  return {
    title: "Services",
    crumbs: [["Services"]],
    refresh: (flash) => load(null, { flash, tag: state.tag, limit: Math.min(200, Math.max(50, state.services.length)) }),
    every: 5,
    keys: { "/": () => search.focus(), a: () => addObject(page) },
  };
}

function row(each) {
  const kind = each.sample === 0 ? "" : each.expiring ? "expiring" : "kept";
  const about = each.exact ? "" : "≈ ";
  const soon = each.soon ? `${each.soon} of the first ${each.sample} within a day` : "";
  return el(
    "tr",
    {},
    el("td", { class: "main" }, el("a", { class: "row-link", href: to.objects(each.service), title: plain(each.service) }, named(each.service))),
    el("td", { class: "n", "data-label": "objects" }, `${about}${number(each.objects)}`),
    el("td", { class: "n", "data-label": "on disk" }, `≈ ${bytes(each.bytes)}`),
    el("td", {}, kind && el("span", { class: `tag ${kind}`, title: kind === "kept" ? "The first objects have no expiry" : `${each.expiring} of the first ${each.sample} objects expire` }, kind)),
    el("td", { class: soon ? "soon" : "" }, soon || el("span", { class: "muted", "aria-label": "none" }, "–")),
  );
}
