import { describe, expect, it } from "vitest";
import { keysOrTokens, virtualKeys } from "../../src/auth/index.js";
import { createAdminHandler, createHandler, type HandlerOptions } from "../../src/http/index.js";
import {
  callbacks,
  createDirectory,
  type Directory,
  InvalidOptionsError,
  Router,
  routerError,
} from "../../src/index.js";
import type { CallOptions, HandlerContext } from "../../src/router/call.js";
import { virtualClock } from "../../src/testing/index.js";
import { nodeServer } from "../support/node-server.js";
import { scriptedRouter } from "../support/scripted-router.js";

const models = { chat: [{ provider: "simulated" as const, model: "demo" }] };

/** A router that collects its warnings. */
function aRouter(directory?: Directory) {
  const clock = virtualClock();
  const warnings: string[] = [];
  const plugins = [callbacks({ onWarning: ({ message }) => void warnings.push(message) })];
  const router = new Router({ models, clock, plugins, directory });
  const warned = async () => {
    await clock.advance(1);
    return warnings.splice(0);
  };
  return { clock, router, warned, reload: (other?: Directory) => router.reload({ models, plugins, directory: other }) };
}

const list = () => new Request("http://switchyard/v1/models", { headers: { authorization: "Bearer sk-secret-1" } });
const chat = () =>
  new Request("http://switchyard/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "chat", messages: [], metadata: { from: "body" } }),
  });
/** What JavaScript may pass. */
const wrong = <T>(value: unknown) => value as T;

describe("a handler and the directory of its router", () => {
  it("S11: refuses keys of a directory that the router does not have", () => {
    const directory = createDirectory();
    const { router } = aRouter();
    expect(() => createHandler(router, { authenticate: virtualKeys(directory) })).toThrow(InvalidOptionsError);
    expect(() => createHandler(router, { authenticate: virtualKeys(directory) })).toThrow("new Router({ directory })");
    const both = keysOrTokens(virtualKeys(directory), () => ({ user: "ann" }));
    expect(() => createHandler(router, { authenticate: both })).toThrow(InvalidOptionsError);
  });

  it("S11: refuses keys of another directory than the router's, and takes those of its own", () => {
    const directory = createDirectory();
    const { router } = aRouter(directory);
    expect(() => createHandler(router, { authenticate: virtualKeys(createDirectory()) })).toThrow("another directory");
    expect(createHandler(router, { authenticate: virtualKeys(directory) }).fetch).toBeTypeOf("function");
  });

  it("warns when a reload takes the directory away under a handler that goes by its keys", async () => {
    const directory = createDirectory();
    const { secret } = await directory.keys.create({});
    const { router, warned, reload } = aRouter(directory);
    const handler = createHandler(router, { authenticate: virtualKeys(directory) });
    const ask = () =>
      handler.fetch(new Request("http://switchyard/v1/models", { headers: { authorization: `Bearer ${secret}` } }));
    expect((await ask()).status).toBe(200);
    expect(await warned()).toEqual([]);
    reload();
    await ask();
    await ask();
    expect(await warned()).toEqual([expect.stringContaining("a reload took the router's `directory` away")]);
  });

  it("warns when callers come in without a principal although there is a directory, once a minute", async () => {
    const { router, warned, clock } = aRouter(createDirectory());
    const handler = createHandler(router);
    expect((await handler.fetch(list())).status).toBe(200);
    await handler.fetch(list());
    expect(await warned()).toEqual([expect.stringContaining("`authenticate: virtualKeys(directory)`")]);
    await clock.advance(60_000);
    await handler.fetch(list());
    expect(await warned()).toHaveLength(1);
  });

  it.each<[string, HandlerOptions, boolean]>([
    ["there is no directory", {}, false],
    ["`authenticate: false` says that it is meant", { authenticate: false }, true],
  ])("lets anonymous callers in without a word where %s", async (_, options, hasDirectory) => {
    const { router, warned } = aRouter(hasDirectory ? createDirectory() : undefined);
    expect((await createHandler(router, options).fetch(list())).status).toBe(200);
    expect(await warned()).toEqual([]);
  });

  it("says nothing of callers in the same process", async () => {
    const { router, warned } = aRouter(createDirectory());
    expect((await router.fetch("http://switchyard/v1/models")).status).toBe(200);
    expect(await warned()).toEqual([]);
  });

  it("refuses what is no directory, no router and no authenticator, and says what it expected", () => {
    expect(() => virtualKeys(wrong<Directory>(undefined))).toThrow("directory: expected a directory");
    expect(() => createHandler(wrong<Router>({}))).toThrow("router: expected a `Router`");
    expect(() => createHandler(wrong<Router>(undefined))).toThrow(InvalidOptionsError);
    expect(() => keysOrTokens(wrong(undefined), wrong("x"))).toThrow(
      /keys: expected a function[\s\S]*tokens: expected/,
    );
  });
});

describe("a handler whose `authenticate` breaks", () => {
  it.each([
    ["a mistake", new TypeError("db is down, and sk-secret-1 was asked for"), "threw a TypeError, so"],
    ["a driver's error", Object.assign(new Error("sk-secret-1"), { code: "ECONNREFUSED" }), "an Error (ECONNREFUSED)"],
    ["something that is no error", "sk-secret-1", "threw what is no error"],
  ])("refuses the caller and says so, without what it said: %s", async (_, thrown, said) => {
    const { router, warned } = aRouter();
    const handler = createHandler(router, { authenticate: () => Promise.reject(thrown) });
    for (let time = 0; time < 3; time++) expect((await handler.fetch(list())).status).toBe(401);
    const warnings = await warned();
    expect(warnings).toEqual([expect.stringContaining(said)]);
    expect(warnings[0]).toContain('routerError("accounting_unavailable")');
    expect(warnings[0]).not.toContain("secret");
  });

  it("R7: says so when it takes too long", async () => {
    const { router, warned, clock } = aRouter();
    const handler = createHandler(router, { clock, authenticate: () => new Promise(() => {}) });
    const answer = handler.fetch(list());
    await clock.advance(5_000);
    expect((await answer).status).toBe(401);
    expect(await warned()).toEqual([expect.stringContaining("did not answer within 5000 ms")]);
  });

  it("says nothing where it refuses on purpose, and keeps the code of an outage", async () => {
    const { router, warned } = aRouter();
    const refusing = (code: "invalid_api_key" | "accounting_unavailable") =>
      createHandler(router, {
        authenticate: () => {
          throw routerError(code);
        },
      }).fetch(list());
    expect((await refusing("invalid_api_key")).status).toBe(401);
    expect((await refusing("accounting_unavailable")).status).toBe(503);
    expect(await warned()).toEqual([]);
  });

  it("says so of the `authorize` of the management routes, to the process", async () => {
    const told: string[] = [];
    const listen = ({ message }: Error) => void told.push(message);
    process.on("warning", listen);
    const handler = createAdminHandler({
      directory: createDirectory(),
      authorize: () => {
        throw new SyntaxError("sk-secret-1");
      },
    });
    for (let time = 0; time < 2; time++) {
      expect((await handler.fetch(new Request("http://switchyard/admin/keys"))).status).toBe(401);
    }
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", listen);
    expect(told).toEqual([expect.stringContaining("The handler's `authorize` threw a SyntaxError")]);
    expect(told[0]).not.toContain("secret");
  });

  it("says so of `authorizeMetrics`, too", async () => {
    const { router, warned } = aRouter();
    const handler = createHandler(router, {
      authorizeMetrics: () => {
        throw new RangeError("x");
      },
    });
    expect((await handler.fetch(new Request("http://switchyard/v1/metrics"))).status).toBe(401);
    expect(await warned()).toEqual([expect.stringContaining("`authorizeMetrics` threw a RangeError")]);
  });
});

describe("what a host says of a call", () => {
  const options = {
    tags: ["nightly"],
    metadata: { job: "7" },
    sessionId: "one",
    priority: "batch",
    deadlineMs: 1_000,
    require: { region: "eu" },
    fallbacks: ["other"],
    explain: true,
    cache: false,
  } as const satisfies CallOptions;

  const asked = (call: CallOptions | undefined) =>
    Object.fromEntries(Object.keys(options).map((name) => [name, call?.[name as keyof CallOptions]]));

  it("reaches the router through `fetch`, `node` and the in-process `fetch` alike", async () => {
    const principal = { user: "ann" };
    const router = scriptedRouter();
    const handler = createHandler(router);
    await handler.fetch(chat(), { principal, options });
    const server = await nodeServer((request, response) =>
      handler.node(request, response, undefined, { principal, options }),
    );
    await fetch(`${server.origin}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: await chat().text(),
    });
    await server[Symbol.asyncDispose]();
    expect(router.calls).toHaveLength(2);
    for (const { options: got } of router.calls) {
      expect(asked(got)).toEqual(options);
      expect(got?.principal).toEqual(principal);
    }
    const { router: real } = aRouter();
    const response = await real.fetch(chat(), undefined, { options: { deadlineMs: -1 } });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining("deadlineMs")]);
  });

  it("wins over what the client says of caches, which stands otherwise", async () => {
    const router = scriptedRouter();
    const handler = createHandler(router);
    const noStore = () =>
      new Request(chat(), { headers: { "content-type": "application/json", "cache-control": "no-store" } });
    await handler.fetch(noStore(), { options: { cache: false } });
    await handler.fetch(noStore(), { options: { tags: ["a"] } });
    expect(router.calls.map((call) => call.options?.cache)).toEqual([
      false,
      { noCache: false, noStore: true, maxAgeMs: undefined },
    ]);
  });

  it("S1: comes from the host alone, never from the body", async () => {
    const router = scriptedRouter();
    await createHandler(router).fetch(chat());
    expect(router.calls[0]?.options?.metadata).toBeUndefined();
  });

  it.each([
    [{ principal: { user: "a" }, tags: ["x"] }, "context.tags: belongs into `options`"],
    [{ metadata: {} }, "context.metadata: belongs into `options`"],
    [{ principal: { user: "a" }, other: 1 }, "context.other: unknown option"],
    [{ princpal: { user: "a" } }, 'did you mean "principal"?'],
    [{ options: { tagz: [] } }, 'context.options.tagz: unknown option; did you mean "tags"?'],
    [{ options: { principal: {} } }, "context.options.principal: stands beside `options`"],
    [{ options: { signal: {} } }, "context.options.signal: is the handler's own"],
    [{ options: "x" }, "context.options: expected an object"],
  ])("is refused where it would be ignored: %j", async (context, message) => {
    const handler = createHandler(scriptedRouter());
    await expect(handler.fetch(chat(), wrong<HandlerContext>(context))).rejects.toThrow(message);
    await expect(handler.fetch(chat(), wrong<HandlerContext>(context))).rejects.toThrow(InvalidOptionsError);
    expect(() => handler.node(wrong({}), wrong({}), undefined, wrong<HandlerContext>(context))).toThrow(message);
  });

  it.each([
    ["Workers", { API_KEY: "x", CACHE: {} }],
    ["Bun", { port: 1, hostname: "x" }],
    ["Deno", { remoteAddr: {}, completed: {} }],
    ["Next.js", { params: {} }],
  ])("is not mistaken for what %s hands over", async (_, context) => {
    const response = await createHandler(scriptedRouter()).fetch(chat(), wrong<HandlerContext>(context));
    expect(response.status).toBe(200);
  });
});
