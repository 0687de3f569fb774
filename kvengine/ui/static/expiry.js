// Choosing when something expires.

import { button, el, fresh } from "./dom.js";
import { exact } from "./format.js";
import { open } from "./dialogs.js";

const UNITS = { seconds: 1, minutes: 60, hours: 3600, days: 86400 };
const LAST = 253402300799;

/** A number and a unit: `.seconds()` gives the sum, null where it is none above zero. */
export function duration(amount = "1", unit = "hours") {
  const [number, select] = [fresh("amount"), fresh("unit")];
  const input = el("input", { id: number, type: "number", min: "0", step: "any", value: amount, class: "short" });
  const units = el("select", { id: select }, Object.keys(UNITS).map((each) => el("option", { selected: each === unit }, each)));
  const label = (id, text) => el("label", { for: id, class: "hidden" }, text);
  const node = el("span", { class: "duration" }, label(number, "How long"), input, label(select, "Unit"), units);
  const seconds = () => {
    const value = Number(input.value) * UNITS[units.value];
    return input.value !== "" && Number.isFinite(value) && value > 0 ? value : null;
  };
  return { node, seconds };
}

/** Ask when an object expires; resolves with the change, null for none. */
export function askExpiry(expiresAt) {
  return open("When does this object expire?", (close) => {
    const group = fresh("expiry");
    const after = duration();
    const at = el("input", { type: "datetime-local", step: "1", "aria-label": "Date and time, in this browser’s time zone" });
    at.value = local(expiresAt ?? Date.now() / 1000 + 86400);
    const choices = [
      ["after", "After", after.node, () => after.seconds() && { verb: "expire", ttl: after.seconds() }],
      ["at", "At", at, () => timeOf(at.value)],
      ["never", "Never", null, () => ({ verb: "expire" })],
      ["now", "Now: it reads as absent at once", null, () => ({ verb: "expire_now" })],
    ];
    const error = el("p", { class: "wrong", role: "alert" });
    const radios = choices.map(([value, text, more], number) => {
      const id = fresh("choice");
      const radio = el("input", { type: "radio", name: group, id, value, checked: number === 0, "data-first": number === 0 });
      const choose = () => {
        radio.checked = true;
      };
      more?.addEventListener("input", choose);
      more?.addEventListener("focusin", choose);
      return el("div", { class: "choice" }, radio, el("label", { for: id }, text), more);
    });
    const go = () => {
      const chosen = radios.findIndex((each) => each.firstChild.checked);
      const change = choices[chosen][3]();
      if (change) close(change);
      else error.textContent = "That is no time in the future that kvengine can keep.";
    };
    const now = expiresAt === null ? "It never expires now." : `Now it expires at ${exact(expiresAt)}.`;
    const submit = (event) => {
      event.preventDefault();
      go();
    };
    return el(
      "form",
      { on: { submit } },
      el("p", { class: "muted" }, now),
      el("fieldset", { class: "plain" }, el("legend", { class: "hidden" }, "Expiry"), radios),
      error,
      el("div", { class: "actions" }, button("Cancel", () => close()), el("button", { class: "button primary", type: "submit" }, "Set expiry")),
    );
  });
}

function timeOf(text) {
  const at = new Date(text).getTime() / 1000;
  return at > Date.now() / 1000 && at < LAST ? { verb: "expire", at } : null;
}

function local(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "";
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60000);
  return shifted.toISOString().slice(0, 19);
}
