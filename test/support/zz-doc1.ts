import { Hono } from "hono";
import { Router } from "../../src/index.js";
import { createHandler } from "../../src/http/index.js";

const router = new Router({ models: { chat: [{ provider: "simulated", model: "demo" }] } });
const handler = createHandler(router);

const app = new Hono();
app.all("/v1/*", (context) => handler.fetch(context.req.raw));
export default app;
