// What lists share: a search box, and going on where a page ended.

import { button, el, fresh } from "./dom.js";
import { failed } from "./notes.js";

const PAUSE = 150;
const SETTLED = 100;

/** A box that searches as one types. `search(prefix)` is called when typing pauses. */
export function searchBox(label, value, search) {
  const id = fresh("search");
  const input = el("input", { id, type: "search", value, placeholder: label, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
  let waiting = null;
  let last = value;
  const go = () => {
    clearTimeout(waiting);
    waiting = null;
    if (input.value === last || !input.isConnected || input.closest("[inert]")) return;
    last = input.value;
    Promise.resolve(search(last)).catch(failed);
  };
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(go, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") go();
    if (event.key === "ArrowDown") document.querySelector("main .row-link")?.focus();
    if (event.key === "Escape") {
      event.stopPropagation();
      if (input.value === "") input.blur();
      else {
        input.value = "";
        go();
      }
    }
  });
  const node = el("div", { class: "search", role: "search" }, el("label", { for: id, class: "hidden" }, label), input, el("kbd", { "aria-hidden": "true" }, "/"));
  return { node, focus: () => input.select() };
}

/** Going on: by itself when its end comes into sight (a few thousand rows), else by a button. */
export function more(load, most = 3000) {
  let busy = false;
  let seen = false;
  const press = button("Load more", () => go());
  const node = el("div", { class: "more", hidden: true }, press);
  async function go() {
    if (busy || node.hidden) return;
    busy = true;
    press.disabled = true;
    try {
      await load();
      // Still in sight: what came was little, or gave way to a newer reading of the list.
      setTimeout(byItself, SETTLED);
    } catch (error) {
      failed(error);
    } finally {
      busy = false;
      press.disabled = false;
    }
  }
  function byItself() {
    if (seen && node.isConnected && document.querySelectorAll("main .row-link").length < most) go();
  }
  new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    byItself();
  }, { rootMargin: "200px" }).observe(node);
  return {
    node,
    show: (there) => {
      node.hidden = !there;
    },
  };
}
