// The page begins here: a session, then the view that the address asks for, kept up to date.

import { Refusal, read, useToken, write } from "./api.js";
import { el, put } from "./dom.js";
import { when } from "./format.js";
import { help, listen } from "./keyboard.js";
import { failed } from "./notes.js";
import { parse, samePlace } from "./route.js";
import { Shell } from "./shell.js";
import { view as services } from "./services.js";
import { view as objects } from "./objects.js";
import { view as object } from "./object.js";
import { view as storage } from "./storage.js";

const VIEWS = { services, objects, object, storage };
const BEAT = 1000;
const LOOK_AGAIN = 30;
/** Beats after which a view is read again though nothing was written: what expires says nothing. */

const main = document.getElementById("main");
let shell = null;
let current = null;
let route = null;
let shown = location.hash;
let tag = null;
let beats = 0;
let stale = false;
let beating = false;
let broken = false;
/** Whether the view could not be read: it is tried again. */

const page = {
  go: (hash) => {
    if (location.hash === hash) show().catch(failed);
    else location.hash = hash;
  },
  writable: () => shell?.state?.writable ?? false,
  view: () => current,
  poll: () => beat(true),
  theme,
  escape: () => {
    if (current?.escape?.()) return;
    if (current?.up) page.go(current.up);
  },
};

async function begin() {
  const code = /^#launch=([\w-]+)$/.exec(location.hash);
  try {
    if (code) {
      history.replaceState(null, "", "#/services");
      shown = location.hash;
      useToken((await write("launch", { code: code[1] })).csrf);
    } else {
      useToken((await read("session")).data.csrf);
    }
  } catch (error) {
    // A link that was used up here already leads to the session that it began.
    const known = code && error.status === 401 ? await read("session").catch(() => null) : null;
    if (known === null) {
      closed(error);
      return;
    }
    useToken(known.data.csrf);
  }
  shell = new Shell({ theme, help });
  listen(page);
  window.addEventListener("signed-out", (event) => closed(new Error(event.detail)));
  window.addEventListener("hashchange", () => move().catch(failed));
  window.addEventListener("beforeunload", (event) => {
    if (current?.dirty?.()) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) beat(true);
  });
  await beat(true);
  await show();
  setInterval(() => beat(false), BEAT);
}

/** Without a session there is only how to get one. */
function closed(error) {
  current = null;
  shell = null;
  busy(false);
  put(document.getElementById("bar"));
  put(
    main,
    el(
      "div",
      { class: "gate" },
      el("p", { class: "brand" }, "kvengine"),
      el("h1", {}, error.status === 0 ? "No answer" : "Open the link from your terminal"),
      el("p", {}, error.message),
      el("p", { class: "muted" }, "A link is good once. For another, stop ", el("code", {}, "kvengine ui"), " and start it again."),
    ),
  );
  document.title = "kvengine";
}

/** The address has changed: go there, unless something unsaved would be lost. */
async function move() {
  const next = parse(location.hash);
  if (samePlace(route, next) && current?.open && next.view === "object") {
    shown = location.hash;
    if (next.stateKey !== null) current.open(next.stateKey);
    return;
  }
  if (current?.dirty?.()) {
    const wanted = location.hash;
    history.replaceState(null, "", shown);
    if (!(await current.mayLeave())) return;
    history.pushState(null, "", wanted);
  }
  await show();
}

async function show() {
  route = parse(location.hash);
  shown = location.hash;
  const mine = route;
  const place = el("div", { class: `view ${route.view}`, "data-at": shown });
  current = null;
  busy(true); // what is still to be seen is of the place that was left
  try {
    const made = await VIEWS[route.view](place, route, page);
    if (mine !== route) return;
    current = made;
    broken = false;
  } catch (error) {
    if (mine !== route || error.status === 401) return;
    current = null;
    broken = true;
    const reason = error instanceof Refusal ? error.message : `This view failed: ${error.message}`;
    put(place, el("div", { class: "nothing", role: "alert" }, el("p", {}, reason)));
  }
  busy(false);
  put(main, place);
  shell.at(route.view, current?.crumbs ?? [["Services", "#/services"], ["Not available"]]);
  document.title = `${current?.title ?? "Not available"} · kvengine`;
  window.scrollTo(0, 0);
}

function busy(is) {
  main.inert = is;
  main.ariaBusy = String(is);
}

/** Look whether anything has changed, and let the view follow. Not while nobody looks. */
async function beat(now) {
  if (shell === null || beating || (document.hidden && !now)) return;
  beats += 1;
  times();
  const every = current?.every ?? 2;
  if (!now && beats % every) return;
  beating = true;
  try {
    const answer = await read("pulse", {}, { tag });
    tag = answer.tag;
    if (answer.data !== null) {
      shell.pulse(answer.data);
      stale = true;
    } else if (shell.state?.silent) {
      shell.state.silent = false;
      shell.tell("");
    }
    if (current === null && broken && !now) await show();
    if (current?.refresh && (stale || current.always || beats % LOOK_AGAIN === 0) && !now) {
      stale = false;
      await current.refresh(true);
    }
  } catch (error) {
    tag = null;
    if (error.status !== 401) shell?.silent(error.message);
  } finally {
    beating = false;
  }
}

/** Times in words move on. */
function times() {
  for (const each of document.querySelectorAll("time[data-when]")) {
    const text = when(Number(each.dataset.when));
    if (each.textContent !== text) each.textContent = text;
  }
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

begin();
