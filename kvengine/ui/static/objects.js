// The objects of a service: searched by the beginning of their key, a page at a time.

import { Refusal, read, write } from "./api.js";
import { button, el, put } from "./dom.js";
import { bytes, exact, many, number, timeOf, when } from "./format.js";
import { named, plain, typable } from "./names.js";
import { Rows, head } from "./rows.js";
import { to } from "./route.js";
import { addObject } from "./add.js";
import { confirm, typed } from "./dialogs.js";
import { more, searchBox } from "./lists.js";
import { failed, toast } from "./notes.js";

const PAGE = 100;
const FOLLOWED = 500;

export async function view(place, route, page) {
  const { service } = route;
  const state = { prefix: route.prefix, objects: [], next: null, tag: null, asked: 0 };
  const rows = new Rows((each) => row(service, each));
  const table = el("table", { class: "list objects" }, head(["Key"], ["Entries", "n"], ["Size", "n"], ["Last change"], ["Expires"]), rows.node);
  const nothing = el("div", { class: "nothing", hidden: true });
  const summary = el("p", { class: "summary", role: "status" });
  const further = more(() => load(state.next));
  const search = searchBox("Find objects by the beginning of their key", state.prefix, async (prefix) => {
    state.prefix = prefix;
    history.replaceState(null, "", to.objects(service, prefix));
    await load(null);
  });
  const add = button("Add object…", () => addObject(page, service), { class: "button writes" });
  const clear = button("Clear service…", () => clearService(service, page).catch(failed), { class: "button danger quiet writes" });
  put(
    place,
    el("div", { class: "title" }, el("h1", {}, named(service)), el("div", { class: "tools" }, add, clear)),
    el("div", { class: "row" }, search.node, summary),
    table,
    nothing,
    further.node,
  );

  async function load(after, { flash = false, tag = null, limit = PAGE } = {}) {
    state.asked += 1;
    const mine = state.asked;
    const answer = await read("objects", { service, prefix: state.prefix, after, limit }, { tag });
    if (answer.data === null || mine !== state.asked) return;
    if (after === null) state.tag = answer.tag;
    state.objects = after === null ? answer.data.objects : [...state.objects, ...answer.data.objects];
    state.next = answer.data.next;
    show(answer.data, flash);
  }

  function show(data, flash) {
    rows.show(state.objects, (each) => each.key, { flash });
    further.show(state.next !== null);
    table.hidden = state.objects.length === 0;
    nothing.hidden = state.objects.length > 0;
    const all = state.next === null;
    const there = all ? state.objects.length : data.count;
    const about = all || data.exact ? "" : "≈ ";
    summary.textContent = `${about}${many(there, "object")}${all ? "" : `, ${number(state.objects.length)} shown`}`;
    if (state.objects.length) return;
    put(
      nothing,
      state.prefix
        ? [el("p", {}, "No key begins with ", named(state.prefix), ".")]
        : [el("p", {}, "This service holds no objects now."), el("p", {}, el("a", { href: to.services() }, "All services"))],
    );
  }

  async function refresh(flash) {
    // A long list stays as it was read: following all of it would read it all again and again.
    if (state.objects.length > FOLLOWED) return;
    await load(null, { flash, tag: state.tag, limit: Math.max(PAGE, state.objects.length) });
  }

  await load(null);
  return {
    title: plain(service),
    crumbs: [["Services", to.services()], [named(service)]],
    refresh,
    every: 2,
    keys: { "/": () => search.focus(), a: () => addObject(page, service) },
    up: to.services(),
  };
}

function row(service, each) {
  const changed = timeOf(each.version);
  const ends = each.expires_at ?? each.entry_expires_at;
  const inside = each.state_keys.length ? each.state_keys.map((name) => plain(name, 40)).join(", ") : "";
  return el(
    "tr",
    {},
    el("td", { class: "main" }, el("a", { class: "row-link", href: to.object(service, each.key), title: inside || plain(each.key) }, named(each.key))),
    el("td", { class: "n", "data-label": "entries" }, each.entries === null ? "> 1,000" : number(each.entries)),
    el("td", { class: "n" }, each.bytes === null ? "> 16 KiB" : bytes(each.bytes)),
    el("td", { "data-label": "changed" }, el("time", { "data-when": changed, title: exact(changed) }, when(changed))),
    el(
      "td",
      {},
      ends === null
        ? el("span", { class: "muted", "aria-label": "never" }, "–")
        : [el("time", { class: "soon", "data-when": ends, title: exact(ends) }, when(ends)), each.expires_at === null ? el("span", { class: "muted" }, " an entry") : null],
    ),
  );
}

/** Clear a whole service, when its name has been typed. */
async function clearService(service, page) {
  const name = typable(service) ? service : plain(service, 1000);
  const { data } = await read("pulse");
  const about = (await read("objects", { service, limit: 1 })).data;
  const found = `${about.exact ? "" : "about "}${many(about.count, "object")}`;
  const answer = await typed(
    "Clear this service?",
    [el("p", {}, "Every object of ", named(service), ` is cleared: ${found}. There is no way back.`), el("p", { class: "muted" }, "Objects that change while you decide stop it; of a large service the first 1,000 are checked.")],
    name,
    "Clear service",
  );
  if (answer !== name) return;
  const request = { service, confirm: service, seen: data.last_stamp, force: false };
  try {
    await write("clear-service", request);
  } catch (error) {
    if (!(error instanceof Refusal) || error.data.result !== "conflict") throw error;
    if (!(await confirm("The service has changed", `${error.message} Clear it all the same?`, "Clear it all the same"))) return;
    await write("clear-service", { ...request, force: true });
  }
  toast("Service cleared", "good");
  page.go(to.services());
}
