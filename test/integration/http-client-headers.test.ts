import { expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO } from "../support/router-fixtures.js";

const open = openedForEachTest();

it("S1, S17, S42: what a client says in headers chooses nothing and goes nowhere", async () => {
  const upstream = await open.upstream();
  const router = open.router({ models: { chat: [deploymentOf(upstream, "a", { apiKey: "sk-of-the-router" })] } });
  const { fetch } = createHandler(router);
  const send = (headers: Record<string, string>) =>
    fetch(
      new Request("http://elsewhere.example/v1/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "chat", messages: HELLO }),
      }),
    );
  expect((await send({})).status).toBe(200);
  const steering = {
    authorization: "Bearer sk-of-the-client",
    cookie: "session=1",
    forwarded: "for=192.0.2.1;host=evil.example",
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-host": "evil.example",
    "x-real-ip": "192.0.2.1",
    "x-portkey-provider": "openai",
    "x-base-url": "http://evil.example",
    "openai-organization": "org-other",
    "x-switchyard-deployment": "b",
  };
  expect((await send(steering)).status).toBe(200);
  const [plain, steered] = upstream.requests;
  expect(steered?.headers).toEqual(plain?.headers);
  expect(steered?.headers.authorization).toBe("Bearer sk-of-the-router");
});
