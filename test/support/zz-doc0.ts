import { createServer } from "node:http";
import { Router } from "../../src/index.js";
import { createHandler } from "../../src/http/index.js";

const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo" }] } });
const keys = new Map([["sk-alice-0123456789abcdef0123456789", { user: "alice" }]]);

const handler = createHandler(router, {
  authenticate({ apiKey }) {
    const principal = keys.get(apiKey ?? "");
    if (!principal) throw new Error("unknown key");
    return principal;
  },
});
createServer(handler.node).listen(4000);
