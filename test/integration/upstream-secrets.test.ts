import { describe, expect, it } from "vitest";
import { createDirectory, type Plugin, records } from "../../src/index.js";
import { error, reply } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();
const ask = (model = "chat") => ({ model, messages: HELLO });

describe("S18, S21: an upstream that quotes what it was sent", () => {
  const KEY = "Zq7LpWx9Vt3RbN5kYc2MhJ8d";
  const HEADER = "hdrSECRET0123456789";

  it.each([
    ["a text", KEY],
    ["a function", () => KEY],
    ["a function whose key is kept for a while", () => ({ value: KEY, ttlMs: 60_000 })],
  ])("shows the caller neither the key, from %s, nor a header of the configuration", async (_, apiKey) => {
    const upstream = await open.upstream();
    upstream.always(error(400, { message: `Unexpected value ${KEY}; also ${HEADER}, and Bearer of plain words` }));
    const headers = { "x-team-key": `Token ${HEADER}`, "x-team": "plain" };
    const router = open.router({
      models: { chat: { deployments: [deploymentOf(upstream, "a", { apiKey, headers })], retries: 0 } },
    });
    const refused = (await rejection(router.chat.completions.create(ask()))) as { message: string; attempts: unknown };
    expect(refused.message).toContain("Unexpected value");
    expect(refused.message).toContain("plain");
    expect(JSON.stringify([refused.message, refused.attempts])).not.toMatch(/Zq7Lp|hdrSECRET/);
  });
});

describe("records of requests that are refused on their way in", () => {
  it.each([
    ["a model that is not permitted", { model: "other", messages: HELLO }],
    ["a body that is no request", { model: "chat", messages: "hello" }],
  ])("say whose they were: %s", async (_, body) => {
    const upstream = await open.upstream();
    upstream.always(reply({ text: "x" }));
    const directory = createDirectory();
    await directory.teams.create({ id: "acme", models: ["chat"] });
    const seen: object[] = [];
    const keep: Plugin = records((record) => void seen.push(record));
    const router = open.router({ directory, models: { chat: [deploymentOf(upstream, "a")] }, plugins: [keep] });
    await rejection(router.chat.completions.create(body as never, { principal: { team: "acme" } }));
    await expect.poll(() => seen).toMatchObject([{ outcome: "rejected", team: "acme" }]);
  });

  it("a principal that names nobody is refused, rather than taken for the host itself", async () => {
    const upstream = await open.upstream();
    const router = open.router({ models: { chat: [deploymentOf(upstream, "a")] } });
    for (const principal of [{}, { team: undefined }]) {
      expect(await rejection(router.chat.completions.create(ask(), { principal }))).toMatchObject({
        code: "invalid_request",
        message: expect.stringContaining("options.principal: names nobody"),
      });
    }
  });
});
