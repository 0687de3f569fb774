// The server: reads with a tag, so that what has not changed is not sent again, and writes.

let csrf = "";

/** What the server refused: its status, its sentence, and what else it said. */
export class Refusal extends Error {
  constructor(status, data) {
    super(data.error ?? `The server answered ${status}.`);
    this.status = status;
    this.data = data;
  }
}

/** From now on writes carry this token. */
export function useToken(token) {
  csrf = token;
}

function address(path, query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) search.set(name, value);
  }
  const text = search.toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { ...options, cache: "no-store", credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { error: "The server does not answer; is kvengine ui still running?" });
  }
  if (response.status === 304) return { data: null, tag: response.headers.get("ETag") };
  const text = await response.text();
  let data = {};
  try {
    data = JSON.parse(text);
  } catch {
    throw new Refusal(response.status, { error: `The server answered ${response.status}, and no JSON.` });
  }
  if (!response.ok) {
    if (response.status === 401) window.dispatchEvent(new CustomEvent("signed-out", { detail: data.error }));
    throw new Refusal(response.status, data);
  }
  return { data, tag: response.headers.get("ETag") };
}

/** Data, and its tag; data is null where `tag` is still that of what there is. */
export function read(path, query = {}, { tag = null, signal } = {}) {
  const headers = tag === null ? {} : { "If-None-Match": tag };
  return ask(address(path, query), { headers, signal });
}

/** The text of an answer, as it is. */
export async function readText(path, query) {
  const response = await fetch(address(path, query), { cache: "no-store", redirect: "error" });
  const text = await response.text();
  if (!response.ok) throw new Refusal(response.status, JSON.parse(text));
  return text;
}

/** The address of an answer that the browser saves as a file. */
export function download(path, query) {
  return address(path, query);
}

/** The answer to a write. */
export async function write(path, body) {
  const headers = { "Content-Type": "application/json", "X-KVEngine-CSRF": csrf };
  const { data } = await ask(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return data;
}
