import { describe, expect, it } from "vitest";
import { createHandler } from "../../src/http/index.js";
import { seededRandom } from "../../src/internal/random.js";
import type { Principal } from "../../src/plugins/plugin.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { reply } from "../../src/testing/index.js";
import { nodeServer } from "../support/node-server.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf } from "../support/router-fixtures.js";

const open = openedForEachTest();
const SESSION = "x-switchyard-session-id";

/** About 500 tokens. */
const long = (what: string) => `${what} `.repeat(2_000).slice(0, 2_000);

/** A handler over six equal deployments; the credential of a caller is the name of its organization. */
async function handlerOver(options: Partial<RouterOptions> = {}) {
  const upstreams = await Promise.all(Array.from({ length: 6 }, () => open.upstream()));
  for (const upstream of upstreams) upstream.always(reply({ text: "Yes.", usage: "absent" }));
  const deployments = upstreams.map((upstream, index) => deploymentOf(upstream, `d${index}`));
  const router = open.router({
    random: seededRandom(5),
    models: { chat: { strategy: "least-busy", deployments } },
    ...options,
  });
  const handler = createHandler(router, {
    authenticate: ({ apiKey }): Principal => JSON.parse(apiKey ?? '{"organization":"acme"}') as Principal,
  });
  const send = async (content: string, headers: Readonly<Record<string, string>> = {}) => {
    const response = await handler.fetch(
      new Request("http://switchyard/v1/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ model: "chat", messages: [{ role: "user", content }] }),
      }),
    );
    return {
      status: response.status,
      deployment: response.headers.get("x-switchyard-deployment"),
      variant: response.headers.get("x-switchyard-experiment"),
      body: (await response.json()) as { error?: { code?: string; param?: string; message?: string } },
    };
  };
  return { upstreams, router, handler, send };
}

describe("a session over HTTP", () => {
  it("goes on where it was, whatever its prompts", async () => {
    const { send } = await handlerOver();
    for (const session of ["one", "two", "three"]) {
      const first = await send(`${session} begins`, { [SESSION]: session });
      for (const question of ["and now?", "and then?", "and in the end?"]) {
        expect((await send(long(question), { [SESSION]: session })).deployment).toBe(first.deployment);
      }
    }
  });

  it("S1: is a wish: where its deployment is busy or down, another one serves", async () => {
    const { upstreams, send } = await handlerOver();
    const first = await send("begins", { [SESSION]: "one" });
    await upstreams[Number(first.deployment?.slice(1))]?.refuse();
    const next = await send(long("and now?"), { [SESSION]: "one" });
    expect(next.status).toBe(200);
    expect(next.deployment).not.toBe(first.deployment);
  });

  it("S40: of another tenant is another session, whatever level the tenant is of", async () => {
    const { send, router } = await handlerOver();
    const as = (principal: Principal) => ({ authorization: `Bearer ${JSON.stringify(principal)}`, [SESSION]: "one" });
    const matchedBy = async (principal: Principal) => {
      const body = { model: "chat", messages: [{ role: "user" as const, content: long("else") }] };
      const { deployments } = await router.explain(body, { sessionId: "one", principal });
      return Math.max(...deployments.map(({ matchedTokens }) => matchedTokens));
    };
    const principals: Principal[] = [
      { organization: "a" },
      { organization: "b" },
      { team: "a" },
      { user: "a" },
      { key: "a" },
    ];
    for (const [position, principal] of principals.entries()) {
      expect(await matchedBy(principal), JSON.stringify(principal)).toBe(0);
      await send("begins", as(principal));
      // It was there itself, and nobody else.
      expect(await matchedBy(principal)).toBeGreaterThan(0);
      for (const other of principals.slice(position + 1)) expect(await matchedBy(other)).toBe(0);
    }
  });

  it("S1: gives nobody a variant of an experiment: clients could try names until they like what they get", async () => {
    const experiment = { variants: { other: 0.5 } };
    const upstream = await open.upstream();
    const { send } = await handlerOver({
      models: {
        chat: { deployments: [deploymentOf(upstream, "a")], experiment },
        other: [deploymentOf(upstream, "b")],
      },
    });
    const variants = new Set<string | null>();
    const as = { authorization: `Bearer ${JSON.stringify({ user: "ann" })}` };
    for (let session = 0; session < 20; session++) {
      variants.add((await send("hello", { ...as, [SESSION]: `${session}` })).variant);
    }
    expect([...variants]).toEqual([(await send("hello", as)).variant]);
  });

  it("S42: is told to no upstream", async () => {
    const { upstreams, send } = await handlerOver();
    const { deployment } = await send("hello", { [SESSION]: "canary-session" });
    const [request] = upstreams[Number(deployment?.slice(1))]?.requests ?? [];
    expect(JSON.stringify([request?.headers, request?.text])).not.toContain("canary-session");
  });

  it.each([
    ["", "no character"],
    ["x".repeat(513), "too many"],
  ])("is refused with %j as its name (%s)", async (name) => {
    const { upstreams, send } = await handlerOver();
    const { status, body } = await send("hello", { [SESSION]: name });
    expect([status, body.error?.code, body.error?.param]).toEqual([400, "invalid_request", SESSION]);
    expect(body.error?.message).toContain("1 to 512 characters");
    expect(upstreams.reduce((sum, { requestCount }) => sum + requestCount, 0)).toBe(0);
  });

  it("is one: a client that names two is refused", async () => {
    const { handler } = await handlerOver();
    await using server = await nodeServer(handler.node);
    const body = JSON.stringify({ model: "chat", messages: [{ role: "user", content: "hello" }] });
    const client = server
      .connect()
      .request("POST", "/v1/chat/completions", body, [`${SESSION}: one`, `${SESSION}: two`]);
    expect(await client.waitFor("}}")).toMatch(/^HTTP\/1\.1 400 /);
  });
});
