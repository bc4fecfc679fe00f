import { createMemoryDirectoryStore } from "../../src/access/memory-directory-store.js";
import { describeDirectoryStore } from "./directory-stores.js";

describeDirectoryStore("memory", async () => ({ open: async () => createMemoryDirectoryStore() }));
