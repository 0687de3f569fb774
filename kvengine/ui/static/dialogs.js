// Dialogs. The browser's own element: it keeps the focus inside, and Escape closes it.

import { button, el, fresh } from "./dom.js";

/** Show a dialog until it is closed; resolves with what `close(answer)` gave, null for Escape. */
export function open(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    const id = fresh("dialog");
    let answer = null;
    let box = null;
    const close = (given = null) => {
      answer = given;
      box.close();
      end();
    };
    const end = () => {
      box.remove();
      resolve(answer);
    };
    box = el("dialog", { class: wide ? "wide" : null, "aria-labelledby": id }, el("h2", { id, tabindex: "-1" }, title), build(close));
    box.addEventListener("close", end);
    document.body.append(box);
    box.showModal();
    (box.querySelector("[data-first]") ?? box.querySelector("h2")).focus();
  });
}

/** Ask before something is done; true only for the button that says `yes`. */
export async function confirm(title, text, yes, { danger = true } = {}) {
  const answer = await open(title, (close) => [
    el("p", {}, text),
    el(
      "div",
      { class: "actions" },
      button("Cancel", () => close(), { "data-first": true }),
      button(yes, () => close(true), { kind: danger ? "danger" : "primary" }),
    ),
  ]);
  return answer === true;
}

/** Ask for a name to be typed before something that cannot be undone; resolves with what was typed. */
export function typed(title, nodes, wanted, yes) {
  return open(title, (close) => {
    const id = fresh("typed");
    const input = el("input", { id, type: "text", autocomplete: "off", spellcheck: "false", "data-first": true });
    const go = button(yes, () => close(input.value), { kind: "danger", disabled: true });
    input.addEventListener("input", () => {
      go.disabled = input.value !== wanted;
    });
    const form = el(
      "form",
      {
        method: "dialog",
        on: {
          submit: (event) => {
            event.preventDefault();
            if (!go.disabled) close(input.value);
          },
        },
      },
      nodes,
      el("label", { for: id }, "Type ", el("code", { class: "typed" }, wanted), " to go on"),
      input,
      el("div", { class: "actions" }, button("Cancel", () => close()), go),
    );
    return form;
  });
}
