import { createMemoryStore } from "../../src/stores/memory-store.js";
import { SETTLED_MS } from "../../src/stores/store.js";
import { clockOf, describeStore } from "./stores.js";

describeStore("the store in memory", (time) => ({ store: createMemoryStore({ clock: clockOf(time) }) }), {
  runs: 300,
  tombstoneMs: SETTLED_MS,
});
