// Carrying out an edit: with the version that was read, and asking where that no longer holds.

import { Refusal, write } from "./api.js";
import { ask } from "./conflict.js";
import { toast } from "./notes.js";

/**
 * Do `changes` to the object that was shown as `base` (null: there was none). Resolves with
 * `{ done, object }`: whether it was written, and the object as it is now where that is known
 * (null: gone); `reload` where the person prefers what is there. Throws Refusal for the rest.
 */
export async function carryOut(service, key, base, changes, said) {
  let version = base === null ? "0" : base.version;
  let force = false;
  for (;;) {
    try {
      const answer = await write("edit", { service, key, version, changes, force });
      toast(answer.result === "unchanged" ? "Nothing to do: it is so already" : said, "good");
      return { done: true, object: answer.object };
    } catch (error) {
      if (!(error instanceof Refusal) || error.data.result !== "conflict") throw error;
      const choice = await ask(base, changes, error.data);
      if (choice === null) return { done: false, object: undefined };
      if (choice === "reload") return { done: false, object: error.data.object, reload: true };
      force = choice === "force";
      version = error.data.object === null ? "0" : error.data.object.version;
    }
  }
}
