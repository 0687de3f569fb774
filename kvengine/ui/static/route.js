// Where in the page one is, as the address says it behind the #. Names are percent-encoded.

const code = encodeURIComponent;

/** Addresses of the views. */
export const to = {
  services: (prefix = "") => `#/services${prefix ? `?prefix=${code(prefix)}` : ""}`,
  objects: (service, prefix = "") => `#/objects/${code(service)}${prefix ? `?prefix=${code(prefix)}` : ""}`,
  object: (service, key) => `#/object/${code(service)}/${code(key)}`,
  entry: (service, key, stateKey) => `#/object/${code(service)}/${code(key)}/${code(stateKey)}`,
  storage: () => "#/storage",
};

/** What an address asks for; the services for one that makes no sense. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  let parts;
  let prefix;
  try {
    parts = path.split("/").map(decodeURIComponent);
    prefix = new URLSearchParams(query).get("prefix") ?? "";
  } catch {
    return { view: "services", prefix: "" };
  }
  const [view, ...names] = parts;
  if (view === "objects" && names.length === 1) return { view, service: names[0], prefix };
  if (view === "object" && (names.length === 2 || names.length === 3)) {
    return { view, service: names[0], key: names[1], stateKey: names[2] ?? null };
  }
  if (view === "storage") return { view };
  return { view: "services", prefix };
}

/** Whether two addresses are the same place, whatever entry is open there. */
export function samePlace(one, other) {
  return one !== null && one.view === other.view && one.service === other.service && one.key === other.key;
}
