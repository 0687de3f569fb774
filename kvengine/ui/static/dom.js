// Elements, made from data as text: there is no way from a string to markup in this page.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `given`: attributes, `on` for listeners; null and false leave one out. */
export function el(tag, given = {}, ...children) {
  return fill(document.createElement(tag), given, children);
}

/** The same, of a drawing. */
export function svg(tag, given = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), given, children);
}

function fill(node, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat(9).filter((each) => each !== null && each !== undefined && each !== false));
  return node;
}

/** Replace what a node holds. */
export function put(node, ...children) {
  node.replaceChildren(...children.flat(9).filter((each) => each !== null && each !== undefined && each !== false));
  return node;
}

/** A button; `kind`: "", "primary", "danger", "quiet". */
export function button(text, click, given = {}) {
  const { kind = "", ...more } = given;
  return el("button", { type: "button", class: `button ${kind}`, on: { click }, ...more }, text);
}

let numbers = 0;

/** An id that nothing else in the page has. */
export function fresh(what) {
  numbers += 1;
  return `${what}-${numbers}`;
}
