import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Router } from "../../src/router/router.js";
import type { Transport } from "../../src/transport/transport.js";
import { HELLO } from "../support/router-fixtures.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const REPLY = JSON.stringify({
  id: "c",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "x".repeat(500) }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
});
/** Answers at once, fails now and then. */
const transport: Transport = {
  bufferedBytes: 0,
  async close() {},
  send: ({ path }) => ({
    response: Promise.resolve({
      status: path.length % 7 === 0 ? 500 : 200,
      headers: new Map([["content-type", "application/json"]]),
      body: { text: async () => REPLY, read: async () => undefined },
    }),
    cancel() {},
  }),
};

describe("memory", () => {
  it("R21, S27: does not grow with the number of requests, names, tags or principals", {
    timeout: 60_000,
  }, async () => {
    const router = new Router<string>({
      models: {
        "any/*": {
          deployments: [{ provider: "openai-compatible", baseUrl: "http://memory/v1", model: "*" }],
          retries: 0,
        },
      },
      transport,
    });
    let number = 0;
    const send = async (count: number) => {
      for (let n = 0; n < count; n++) {
        const id = `${number++}`;
        const body = { model: `any/model-${id}`, messages: HELLO };
        await router.chat.completions
          .create(body, { tags: [id], metadata: { id }, principal: { user: id } })
          .catch(() => {});
      }
    };
    await send(3_000);
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    await send(6_000);
    collectGarbage();
    // 6,000 requests that left 200 bytes each would show as 1.2 MB; compiled code and inline caches are some of the rest.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(1_000_000);
    await router.close();
  });
});
