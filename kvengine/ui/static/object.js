// One object: its entries, each opened in place to be read, edited or cleared.

import { Refusal, read, readText } from "./api.js";
import { button, el, put } from "./dom.js";
import { bytes, exact, many, timeOf, when } from "./format.js";
import { named, plain } from "./names.js";
import { to } from "./route.js";
import { addEntry } from "./add.js";
import { askExpiry } from "./expiry.js";
import { carryOut } from "./edits.js";
import { confirm } from "./dialogs.js";
import { Entries } from "./entries.js";
import { more } from "./lists.js";
import { copy, failed } from "./notes.js";

export async function view(place, route, page) {
  const { service, key } = route;
  const state = { object: null, tag: null };
  const facts = el("p", { class: "summary facts" });
  const news = el("div", { class: "news", role: "status", hidden: true });
  const further = more(() => loadFurther());
  const list = new Entries({
    service,
    key,
    base: () => state.object,
    writable: () => page.writable(),
    opened: (name) => history.replaceState(null, "", name === null ? to.object(service, key) : to.entry(service, key, name)),
    edit,
  });
  const tools = el(
    "div",
    { class: "tools" },
    button("Add entry…", () => add(), { class: "button writes" }),
    button("Expiry…", () => expire(), { class: "button writes" }),
    button("Copy as JSON", () => copyAll().catch(failed)),
    button("Clear object…", () => clear().catch(failed), { class: "button danger quiet writes" }),
  );
  const copyKey = button("Copy", () => copy(key, "Key"), { class: "button small", "aria-label": "Copy the key" });
  const nothing = el("div", { class: "nothing", hidden: true });
  const title = el("div", { class: "title" }, el("h1", {}, named(key), copyKey), tools);
  put(place, title, facts, news, list.node, nothing, further.node);

  async function load({ tag = null, flash = false } = {}) {
    let answer;
    try {
      answer = await read("object", { service, key }, { tag });
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 404) throw error;
      take(null, null, flash);
      return;
    }
    if (answer.data !== null) take(answer.data, answer.tag, flash);
  }

  /** The object as it is now. What is being edited is not taken away from under the hands. */
  function take(object, tag, flash) {
    const known = state.object;
    if (list.dirty() && known !== null && (object === null || object.version !== known.version)) {
      news.hidden = false;
      put(news, object === null ? "This object is gone now. " : "This object has changed since you began; saving will show both. ", button("Drop mine", () => dropMine(object, tag), { kind: "small" }));
      return;
    }
    news.hidden = true;
    state.tag = tag;
    if (object !== null && known !== null && object.next !== null && known.entries.length > object.entries.length) {
      if (object.version === known.version) return; // further pages of the same version are shown
    }
    state.object = object;
    show(flash);
  }

  function dropMine(object, tag) {
    list.stop();
    take(object, tag, true);
  }

  function show(flash) {
    const { object } = state;
    list.show(object, { flash });
    further.show(object !== null && object.next !== null);
    nothing.hidden = object !== null;
    tools.hidden = object === null;
    put(facts, object === null ? null : told(object));
    if (object === null) {
      put(nothing, el("p", {}, "There is no such object now."), el("p", { class: "muted" }, "It may have been cleared, or have expired."), el("p", {}, el("a", { href: to.objects(service) }, "All objects of ", named(service))));
    }
  }

  async function loadFurther() {
    const { object } = state;
    const { data } = await read("object", { service, key, after: object.next });
    if (data.version !== object.version) {
      take(data === null ? null : (await read("object", { service, key })).data, null, true);
      return;
    }
    state.object = { ...object, entries: [...object.entries, ...data.entries], next: data.next };
    show(false);
  }

  /** Do changes, and show what is there then; whether they were done. */
  async function edit(changes, said) {
    const answer = await carryOut(service, key, state.object, changes, said);
    if (answer.object === undefined) return false;
    list.stop();
    state.tag = null;
    state.object = answer.object;
    news.hidden = true;
    show(true);
    page.poll();
    return answer.done;
  }

  async function add() {
    if (!page.writable() || state.object === null || !(await mayLeave())) return;
    const answer = await addEntry(service, key, state.object);
    if (!answer) return;
    state.object = answer.object;
    state.tag = null;
    show(true);
    if (answer.done) list.open(answer.stateKey);
  }

  async function expire() {
    if (!page.writable() || state.object === null || !(await mayLeave())) return;
    const change = await askExpiry(state.object.expires_at);
    if (change) await edit([change], change.verb === "expire_now" ? "Object expired" : "Expiry set").catch(failed);
  }

  async function clear() {
    if (!page.writable() || state.object === null) return;
    const count = state.object.count === null ? "all of its entries" : many(state.object.count, "entry", "entries");
    if (await confirm("Clear this object?", ["The object ", named(key), ` and ${count} are cleared. There is no way back.`], "Clear object")) {
      await edit([{ verb: "clear_object" }], "Object cleared");
    }
  }

  async function copyAll() {
    await copy(await readText("document", { service, key }), "The object");
  }

  async function mayLeave() {
    return !list.dirty() || confirm("Drop your changes?", "What you typed has not been saved.", "Drop my changes");
  }

  await load();
  if (route.stateKey !== null && state.object !== null) list.open(route.stateKey);
  return {
    title: `${plain(key)} · ${plain(service)}`,
    crumbs: [["Services", to.services()], [named(service), to.objects(service)], [named(key)]],
    refresh: (flash) => load({ tag: state.tag, flash }),
    every: 2,
    dirty: () => list.dirty(),
    mayLeave,
    open: (stateKey) => list.open(stateKey),
    keys: { e: () => list.editOpen(), a: () => add(), c: () => list.copyOpen() },
    escape: () => list.close(),
    up: to.objects(service),
  };
}

function told(object) {
  const changed = timeOf(object.version);
  const parts = [
    object.count === null ? "many entries" : many(object.count, "entry", "entries"),
    object.bytes === null ? "more than 2 MiB" : bytes(object.bytes),
    ["changed ", el("time", { "data-when": changed, title: `${exact(changed)}, version ${object.version}` }, when(changed))],
    object.expires_at === null ? "never expires" : el("span", { class: "soon" }, "expires ", el("time", { "data-when": object.expires_at, title: exact(object.expires_at) }, when(object.expires_at))),
  ];
  return parts.map((each) => el("span", { class: "fact" }, each));
}
