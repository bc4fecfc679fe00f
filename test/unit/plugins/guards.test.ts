import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from "vitest";
import { RouterError, routerError } from "../../../src/errors/router-error.js";
import { deferred } from "../../../src/internal/deferred.js";
import type { Lease, Plugin, PluginAttempt, PluginRequest } from "../../../src/plugins/plugin.js";
import type { ChatRequest } from "../../../src/protocol/chat.js";
import type { Reply } from "../../../src/protocol/operations.js";
import { aChatBody, aReply, aRunner, someFacts, someUsage } from "../../support/plugin-fixtures.js";
import { onceUnhandled } from "../../support/unhandled.js";

const attempt = { number: 1, resumed: false, group: "chat", deployment: "d1", provider: "openai", model: "gpt" };
const claim = (key: string) => ({ kind: "parallel" as const, key, limit: 1 });
const forever = () => new Promise<never>(() => {});

function aLease(endings: string[], name: string): Lease {
  return { settle: () => void endings.push(`${name} settled`), release: () => void endings.push(`${name} released`) };
}

/** Anything may come back from plugins that are written in JavaScript. */
const junk = (value: unknown) => value as never;

async function failure(work: unknown): Promise<RouterError> {
  const error: unknown = await Promise.resolve(work).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!RouterError.isRouterError(error)) throw new Error("expected a RouterError", { cause: error });
  return error;
}

const unhandled = onceUnhandled();
beforeEach(() => unhandled.start());
afterEach(async () => expect(await unhandled.stop(), "R8: nothing escapes").toEqual([]));

describe("order", () => {
  const names = ["first", "cache", "last"];
  const watching = (log: string[]): Plugin[] =>
    names.map((name) => ({
      name,
      innermost: name === "cache",
      beforeRequest: () => void log.push(`${name} before`),
      beforeAttempt: () => void log.push(`${name} attempt`),
      afterReply: () => void log.push(`${name} after`),
      reserve: () => void log.push(`${name} reserve`),
      async *transformStream(chunks) {
        yield* chunks;
      },
    }));

  it("is the array's on the way in, innermost ones last, and the reverse on the way out", async () => {
    const log: string[] = [];
    const { runner } = aRunner(...watching(log));
    const request = runner.guard(someFacts(), aChatBody());
    await runner.reserve(request);
    await runner.beforeRequest(request);
    await runner.beforeAttempt(request, attempt);
    await runner.afterReply(request, aReply());
    const inward = ["first", "last", "cache"];
    expect(log).toEqual([
      ...inward.map((name) => `${name} reserve`),
      ...inward.map((name) => `${name} before`),
      ...inward.map((name) => `${name} attempt`),
      ...[...inward].reverse().map((name) => `${name} after`),
    ]);
  });

  it("S39: an early answer is seen by the guards before the one that gave it, and by no other", async () => {
    const log: string[] = [];
    const plugins = watching(log);
    const cache: Plugin = { ...plugins[1]!, beforeRequest: () => ({ reply: aReply("cached") }) }; // there are three
    const { runner } = aRunner(plugins[0]!, { ...cache, innermost: false }, plugins[2]!); // as above
    const request = runner.guard(someFacts(), aChatBody());
    const early = await runner.beforeRequest(request);
    expect(early).toEqual({ plugin: "cache", reply: aReply("cached") });
    await runner.afterReply(request, early!.reply); // just seen
    expect(log).toEqual(["first before", "first after"]);
  });

  it("tells by its flags which steps no plugin has", () => {
    expect(aRunner().runner).toMatchObject({
      hasGuards: false,
      hasReserve: false,
      hasBeforeRequest: false,
      hasBeforeAttempt: false,
      hasAfterReply: false,
      hasTransformStream: false,
    });
    expect(aRunner({ name: "p", afterReply: () => {} }).runner).toMatchObject({
      hasGuards: true,
      hasReserve: false,
      hasAfterReply: true,
    });
  });
});

describe("what guards see", () => {
  it("S19: is frozen through and through, and holds nothing but what it says", async () => {
    const seen: PluginRequest[] = [];
    const { runner } = aRunner({ name: "p", beforeRequest: (request) => void seen.push(request) });
    const principal = { user: "u1", secret: "sk-1" };
    const metadata = { a: "b" };
    const tags = ["web"];
    const facts = { ...someFacts({ principal, metadata, tags }), apiKey: "sk-2" };
    await runner.beforeRequest(runner.guard(facts, aChatBody()));
    const view = seen[0]!; // the guard ran
    const shown = [...Object.keys(view), ...Object.getOwnPropertyNames(Object.getPrototypeOf(view))];
    expect(shown.sort()).toEqual(
      "answerScope cache id identity operation isStreaming model group principal tags metadata depth body signal require fallbacks constructor"
        .split(" ")
        .sort(),
    );
    expect(JSON.stringify(view)).not.toContain("sk-");
    expect(view.principal).toEqual({ user: "u1" });
    const body = view.body as ChatRequest;
    for (const object of [view, view.principal, view.tags, view.metadata, body, body.messages, body.messages[0]]) {
      expect(Object.isFrozen(object)).toBe(true);
    }
    for (const object of [principal, metadata, tags]) expect(Object.isFrozen(object)).toBe(false);
  });

  it("cannot be changed: a guard that tries breaks, and the body stays", async () => {
    const { runner } = aRunner({
      name: "p",
      beforeRequest(request) {
        (request.body as ChatRequest).messages.pop();
      },
    });
    const body = aChatBody();
    const error = await failure(runner.beforeRequest(runner.guard(someFacts(), body)));
    expect(error).toMatchObject({ code: "guardrail_error", status: 500, requestId: "req_1" });
    expect(error.message).toBe('Plugin "p" failed in beforeRequest: it threw a TypeError.');
    expect(body).toEqual(aChatBody());
  });

  it("is what is sent: the caller can change nothing once a guard has looked", async () => {
    const body = aChatBody();
    const { runner } = aRunner({ name: "p", beforeRequest: ({ body: { model } }) => void model });
    const request = runner.guard(someFacts(), body);
    await runner.beforeRequest(request);
    body.messages.push({ role: "user", content: "something else" });
    expect(request.body).toEqual(aChatBody());
  });

  it("costs no copy of the body while nobody looks at it", async () => {
    const { runner } = aRunner({ name: "p", beforeRequest: () => {}, beforeAttempt: () => {} });
    const body = aChatBody();
    const request = runner.guard(someFacts(), body);
    await runner.beforeRequest(request);
    expect(request.body).toBe(body);
    expect(await runner.beforeAttempt(request, attempt)).toBe(body);
  });

  it("asks for the request's signal only when a guard takes time", async () => {
    let reads = 0;
    const facts = {
      ...someFacts(),
      get signal() {
        reads++;
        return new AbortController().signal;
      },
    };
    const { runner } = aRunner({ name: "p", beforeRequest: () => {} });
    await runner.beforeRequest(runner.guard(facts, aChatBody()));
    expect(reads).toBe(0);
  });

  it("S37: refuses a body that cannot be copied, in the caller's words", async () => {
    const body = aChatBody({ metadata: {} });
    (body.metadata as Record<string, unknown>).self = body;
    const { runner } = aRunner({ name: "p", beforeRequest: (request) => void request.body });
    const error = await failure(runner.beforeRequest(runner.guard(someFacts(), body)));
    expect(error.code).toBe("invalid_request");
  });
});

describe("patches of a request", () => {
  it("set and remove fields, add tags and metadata, and later guards see it", async () => {
    const seen: PluginRequest[] = [];
    const { runner } = aRunner(
      {
        name: "rewrites",
        beforeRequest: () => ({
          body: { messages: [{ role: "user", content: "bye" }], user: undefined, temperature: 0 },
          tags: ["checked", "web"],
          metadata: { checked: "yes" },
        }),
      },
      { name: "sees", beforeRequest: (request) => void seen.push(request) },
    );
    const body = aChatBody({ user: "u1" });
    const request = runner.guard(someFacts(), body);
    await runner.beforeRequest(request);
    const patched = { model: "chat", messages: [{ role: "user", content: "bye" }], temperature: 0 };
    expect(request.body).toEqual(patched);
    expect("user" in request.body).toBe(false);
    expect(request.isPatched).toBe(true);
    expect(seen[0]?.body).toBe(request.body);
    expect(request.tags).toEqual(["web", "checked"]);
    expect(request.metadata).toEqual({ page: "home", checked: "yes" });
    expect(seen[0]).toMatchObject({ tags: request.tags, metadata: request.metadata });
    expect(body).toEqual(aChatBody({ user: "u1" }));
  });

  it("belong to us once they are returned", async () => {
    const messages = [{ role: "user", content: "bye" }];
    const { runner } = aRunner({ name: "p", beforeRequest: () => ({ body: { messages } }) });
    const request = runner.guard(someFacts(), aChatBody());
    await runner.beforeRequest(request);
    messages[0]!.content = "changed later"; // it is there
    expect((request.body as ChatRequest).messages[0]?.content).toBe("bye");
    expect(Object.isFrozen(messages)).toBe(false);
  });

  it("S29: cannot set a prototype", async () => {
    const { runner } = aRunner({
      name: "p",
      beforeRequest: () => ({ body: JSON.parse('{"__proto__":{"isAdmin":true}}') }),
    });
    const request = runner.guard(someFacts(), aChatBody());
    await runner.beforeRequest(request);
    expect(Object.getPrototypeOf(request.body)).toBe(Object.prototype);
    expect(JSON.stringify(request.body)).toContain('"__proto__":{"isAdmin":true}');
  });

  it.each([
    ["nothing of a kind", null],
    ["text", "patch"],
    ["a list", []],
    ["false", false],
    ["the body itself", aChatBody()],
    ["a reply that is none", { reply: { text: "hi" } }],
    ["a reply to something else", { reply: { object: "list", data: [] } }],
    ["both a reply and a patch", { reply: aReply(), body: {} }],
    ["a body that is no object", { body: [] }],
    ["another model", { body: { model: "other" } }],
    ["another way to answer", { body: { stream: true } }],
    ["no model", { body: { model: undefined } }],
    ["a function", { body: { messages: () => [] } }],
    ["an endless number", { body: { temperature: Number.NaN } }],
    ["an instance", { body: { messages: new Map() } }],
    ["tags that are no list", { tags: "web" }],
    ["a tag that is no text", { tags: [7] }],
    ["too many tags", { tags: Array.from({ length: 17 }, (_, tag) => `t${tag}`) }],
    ["metadata that is no text", { metadata: { a: 7 } }],
    ["metadata that is too long", { metadata: { a: "x".repeat(513) } }],
  ])("fault matrix: %s is junk, and the request is refused", async (_, result) => {
    for (const beforeRequest of [() => junk(result), async () => junk(result)]) {
      const { runner, clock } = aRunner({ name: "p", beforeRequest });
      const request = runner.guard(someFacts(), aChatBody());
      const error = await failure(runner.beforeRequest(request));
      expect(error.code).toBe("guardrail_error");
      expect(error.message).toMatch(/^Plugin "p" failed in beforeRequest: it returned /);
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it("S18: do not show up in the message when they are junk", async () => {
    const { runner } = aRunner({ name: "p", beforeRequest: () => junk({ "my secret prompt": 1 }) });
    const error = await failure(runner.beforeRequest(runner.guard(someFacts(), aChatBody())));
    expect(error.message).not.toContain("secret");
    expect(error.cause).toBeUndefined();
  });
});

describe("early answers", () => {
  it("are copies: what a cache keeps cannot be changed through them", async () => {
    const kept = aReply("cached");
    const { runner } = aRunner({ name: "cache", beforeRequest: () => ({ reply: kept }) });
    const early = await runner.beforeRequest(runner.guard(someFacts(), aChatBody()));
    (early!.reply as typeof kept).choices.pop(); // the cache answered
    expect(kept.choices).toHaveLength(1);
  });

  it("stop the guards behind", async () => {
    const behind = vi.fn();
    const { runner } = aRunner(
      { name: "answers", beforeRequest: async () => ({ reply: aReply() }) },
      { name: "behind", beforeRequest: behind },
    );
    await runner.beforeRequest(runner.guard(someFacts(), aChatBody()));
    expect(behind).not.toHaveBeenCalled();
  });
});

describe("guards of attempts", () => {
  it("see the attempt, and change the body of this one attempt only", async () => {
    const seen: PluginAttempt[] = [];
    const { runner } = aRunner(
      { name: "one", beforeAttempt: ({ number }) => ({ body: { seed: number } }) },
      { name: "two", beforeAttempt: (of) => void seen.push(of) },
    );
    const request = runner.guard(someFacts(), aChatBody());
    expect(await runner.beforeAttempt(request, attempt)).toEqual(aChatBody({ seed: 1 }));
    expect(await runner.beforeAttempt(request, { ...attempt, number: 2 })).toEqual(aChatBody({ seed: 2 }));
    expect(request.body).toEqual(aChatBody());
    expect(seen[0]).toMatchObject({ ...attempt, request: { id: "req_1", body: { seed: 1 } } });
    expect(Object.isFrozen(seen[0])).toBe(true);
  });

  it("see what the deployment adds, and may remove it", async () => {
    const { runner } = aRunner({
      name: "p",
      beforeAttempt: ({ request }) => ({
        body: { temperature: undefined, user: `t=${(request.body as ChatRequest).temperature}` },
      }),
    });
    const body = await runner.beforeAttempt(
      runner.guard(someFacts(), aChatBody()),
      attempt,
      aChatBody({ temperature: 1 }),
    );
    expect(body).toEqual(aChatBody({ user: "t=1" }));
  });

  it.each([
    ["tags", { tags: ["a"] }],
    ["a reply", { reply: aReply() }],
    ["another model", { body: { model: "m" } }],
    ["text", "x"],
  ])("fault matrix: %s is junk for an attempt", async (_, result) => {
    const { runner } = aRunner({ name: "p", beforeAttempt: () => junk(result) });
    const error = await failure(runner.beforeAttempt(runner.guard(someFacts(), aChatBody()), attempt));
    expect(error.code).toBe("guardrail_error");
  });
});

describe("guards of replies", () => {
  it("see a frozen copy, and the next one sees what the one before made of it", async () => {
    const seen: Reply[] = [];
    const { runner } = aRunner(
      { name: "outer", afterReply: (reply) => void seen.push(reply) },
      { name: "inner", afterReply: (reply) => (seen.push(reply) ? aReply("rewritten") : undefined) },
    );
    const original = aReply("original");
    const result = await runner.afterReply(runner.guard(someFacts(), aChatBody()), original);
    expect(seen).toEqual([aReply("original"), aReply("rewritten")]);
    for (const reply of seen) expect(Object.isFrozen((reply as typeof original).choices[0]?.message)).toBe(true);
    expect(result).toEqual(aReply("rewritten"));
    expect(original).toEqual(aReply("original"));
    // The caller may do with an answer whatever it likes.
    expect(Object.isFrozen(result)).toBe(false);
  });

  it("R23: leave the very reply alone if they replace nothing", async () => {
    const { runner } = aRunner({ name: "p", afterReply: () => {} }, { name: "q", afterReply: async (reply) => reply });
    const original = aReply();
    expect(await runner.afterReply(runner.guard(someFacts(), aChatBody()), original)).toBe(original);
  });

  it.each([
    ["null", null],
    ["text", "hi"],
    ["a stream's chunk", { object: "chat.completion.chunk", choices: [] }],
    ["no choices", { object: "chat.completion" }],
  ])("fault matrix: %s is junk for a reply, and the content is withheld", async (_, result) => {
    const { runner } = aRunner({ name: "p", afterReply: () => junk(result) });
    const error = await failure(runner.afterReply(runner.guard(someFacts(), aChatBody()), aReply("secret")));
    expect(error.code).toBe("guardrail_error");
    expect(error.message).not.toContain("secret");
  });

  it("know the replies of every operation", async () => {
    const { runner } = aRunner({ name: "p", afterReply: (reply) => ({ ...reply }) });
    const embeddings: Reply = { object: "list", data: [], model: "e", usage: { prompt_tokens: 1, total_tokens: 1 } };
    const facts = someFacts({ operation: "embeddings" });
    expect(await runner.afterReply(runner.guard(facts, { model: "e", input: "x" }), embeddings)).toEqual(embeddings);
    const completion: Reply = { id: "c", object: "text_completion", created: 1, model: "m", choices: [] };
    const legacy = someFacts({ operation: "completions" });
    expect(await runner.afterReply(runner.guard(legacy, { model: "e", prompt: "x" }), completion)).toEqual(completion);
  });
});

describe("S41: a guard of output that cannot see this way of answering", () => {
  const whole: Plugin = { name: "whole", afterReply: () => {} };
  const streams: Plugin = { name: "streams", transformStream: (chunks) => chunks };

  it("refuses streams if it inspects whole replies only", () => {
    const { runner } = aRunner(whole);
    expect(() => runner.guard(someFacts({ isStreaming: true }), aChatBody())).toThrow(
      expect.objectContaining({
        code: "invalid_request",
        param: "stream",
        message: expect.stringContaining('"whole"'),
      }),
    );
    expect(() => runner.guard(someFacts(), aChatBody())).not.toThrow();
  });

  it("refuses whole replies if it inspects streams only, but not where nothing streams", () => {
    const { runner } = aRunner(streams);
    expect(() => runner.guard(someFacts(), aChatBody())).toThrow(
      expect.objectContaining({
        code: "invalid_request",
        param: "stream",
        message: expect.stringContaining('"streams"'),
      }),
    );
    expect(() => runner.guard(someFacts({ isStreaming: true }), aChatBody())).not.toThrow();
    expect(() => runner.guard(someFacts({ operation: "embeddings" }), { model: "e", input: "x" })).not.toThrow();
  });

  it("refuses nothing if it inspects both, or if its policy is open, of which it warns once", async () => {
    const both = aRunner({ ...whole, ...streams });
    expect(() => both.runner.guard(someFacts({ isStreaming: true }), aChatBody())).not.toThrow();
    const open = aRunner({ ...whole, failure: "open" });
    open.runner.guard(someFacts({ isStreaming: true }), aChatBody());
    open.runner.guard(someFacts({ isStreaming: true }), aChatBody());
    await open.clock.advance(1);
    expect(open.warnings).toHaveLength(1);
    expect(open.warnings[0]).toContain('"whole"');
  });
});

describe("a guard that refuses", () => {
  const refusal = routerError("content_policy_violation", { message: "No card numbers." });

  it.each([
    [
      "throws",
      () => {
        throw refusal;
      },
    ],
    ["rejects", () => Promise.reject(refusal)],
  ])("%s a RouterError, which passes as it is, whatever its policy", async (_, refuse) => {
    for (const failure of ["open", "closed"] as const) {
      const plugin: Plugin = {
        name: "p",
        failure,
        beforeRequest: refuse,
        beforeAttempt: refuse,
        afterReply: refuse,
        reserve: refuse,
      };
      const { runner } = aRunner(plugin);
      const request = runner.guard(someFacts(), aChatBody());
      await expect(runner.reserve(request)).rejects.toBe(refusal);
      await expect(runner.beforeRequest(request)).rejects.toBe(refusal);
      await expect(runner.beforeAttempt(request, attempt)).rejects.toBe(refusal);
      await expect(runner.afterReply(request, aReply())).rejects.toBe(refusal);
    }
  });

  it("is told from one that breaks because a request of its own failed", async () => {
    const inner = routerError("rate_limit_exceeded", { requestId: "req_of_the_judge" });
    const { runner } = aRunner({ name: "judge", beforeRequest: () => Promise.reject(inner) });
    const error = await failure(runner.beforeRequest(runner.guard(someFacts(), aChatBody())));
    expect(error.code).toBe("guardrail_error");
    const open = aRunner({ name: "judge", failure: "open", beforeRequest: () => Promise.reject(inner) });
    expect(await open.runner.beforeRequest(open.runner.guard(someFacts(), aChatBody()))).toBeUndefined();
  });
});

describe("R7: a guard that breaks or hangs", () => {
  const breaks: [string, () => never | Promise<never>, number, RegExp][] = [
    [
      "throws",
      () => {
        throw new RangeError("sk-secret");
      },
      0,
      /it threw a RangeError\.$/,
    ],
    ["rejects", () => Promise.reject(new SyntaxError("sk-secret")), 0, /it threw a SyntaxError\.$/],
    [
      "throws no error",
      () => {
        throw "sk-secret";
      },
      0,
      /it threw\.$/,
    ],
    ["rejects with nothing", () => Promise.reject(undefined), 0, /it threw\.$/],
    ["hangs", forever, 2_000, /it took longer than 2000 ms\.$/],
  ];
  const steps = {
    reserve: async (runner: Runner, request: Request) => runner.reserve(request),
    beforeRequest: async (runner: Runner, request: Request) => runner.beforeRequest(request),
    beforeAttempt: (runner: Runner, request: Request) => runner.beforeAttempt(request, attempt),
    afterReply: (runner: Runner, request: Request) => runner.afterReply(request, aReply()),
  };
  type Runner = ReturnType<typeof aRunner>["runner"];
  type Request = ReturnType<Runner["guard"]>;

  describe.each(Object.entries(steps))("in %s", (hook, step) => {
    it.each(breaks)("that %s refuses the request", async (_, behave, takesMs, reason) => {
      const limitMs = hook === "afterReply" && takesMs > 0 ? 5_000 : takesMs;
      const { runner, clock } = aRunner({ name: "p", [hook]: behave });
      const work = failure(step(runner, runner.guard(someFacts(), aChatBody())));
      const error = await clock.runUntil(work);
      expect(error).toMatchObject({ code: "guardrail_error", status: 500, requestId: "req_1" });
      expect(error.message).toMatch(takesMs > 0 ? /longer than/ : reason);
      expect(error.message).toContain(`Plugin "p" failed in ${hook}: `);
      expect(JSON.stringify([error.message, error.cause ?? null, error.stack])).not.toContain("sk-secret");
      expect(clock.now()).toBe(limitMs);
      expect(clock.pendingTimers).toBe(0);
    });

    it.each(breaks)("that %s is skipped with a warning if its policy is open", async (_, behave) => {
      const { runner, clock, warnings } = aRunner({ name: "p", failure: "open", [hook]: behave });
      const request = runner.guard(someFacts(), aChatBody());
      await clock.runUntil(step(runner, request) as Promise<unknown>);
      await clock.advance(1);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(/^Plugin "p" failed in .* It was skipped\.$/);
      expect(warnings[0]).not.toContain("sk-secret");
      expect(request.body).toEqual(aChatBody());
    });

    it("has its own limit where it says so", async () => {
      const { runner, clock } = aRunner({ name: "p", timeoutMs: 70, [hook]: forever });
      await clock.runUntil(failure(step(runner, runner.guard(someFacts(), aChatBody()))));
      expect(clock.now()).toBe(70);
    });

    it("is left at once when the request is aborted", async () => {
      const abort = new AbortController();
      const { runner, clock } = aRunner({ name: "p", [hook]: forever, failure: "open" });
      const work = step(runner, runner.guard(someFacts({ signal: abort.signal }), aChatBody()));
      const reason = new Error("left");
      queueMicrotask(() => abort.abort(reason));
      await expect(work).rejects.toBe(reason);
      expect(clock.pendingTimers).toBe(0);
    });

    it("is not waited for when the request has been aborted already", async () => {
      const { runner, clock } = aRunner({ name: "p", [hook]: forever });
      const signal = AbortSignal.abort(new Error("left"));
      await expect(step(runner, runner.guard(someFacts({ signal }), aChatBody()))).rejects.toThrow("left");
      expect(clock.pendingTimers).toBe(0);
    });

    it("cannot do anything late", async () => {
      const late = deferred<never>();
      const { runner, clock, warnings } = aRunner({ name: "p", [hook]: () => late.promise, timeoutMs: 10 });
      const request = runner.guard(someFacts(), aChatBody());
      await clock.runUntil(failure(step(runner, request)));
      late.resolve(junk({ body: { seed: 1 } }));
      await clock.advance(1);
      expect(request.body).toEqual(aChatBody());
      expect(warnings).toEqual([]);
    });

    it("may reject late: nobody cares", async () => {
      const late = deferred<never>();
      const { runner, clock } = aRunner({ name: "p", [hook]: () => late.promise, timeoutMs: 10 });
      await clock.runUntil(failure(step(runner, runner.guard(someFacts(), aChatBody()))));
      late.reject(new Error("late"));
      await clock.advance(1);
    });
  });

  it("costs no timer if it answers at once", async () => {
    const { runner, clock } = aRunner({ name: "p", beforeRequest: () => {}, afterReply: () => {}, reserve: () => [] });
    const schedule = vi.spyOn(clock, "schedule");
    const request = runner.guard(someFacts(), aChatBody());
    await runner.reserve(request);
    await runner.beforeRequest(request);
    await runner.afterReply(request, aReply());
    expect(schedule).not.toHaveBeenCalled();
  });
});

describe("reserve", () => {
  it("collects the claims of all plugins with their names, and takes their leases over", async () => {
    const endings: string[] = [];
    const { runner } = aRunner(
      { name: "a", reserve: () => [claim("user:1"), claim("team:1")] },
      { name: "b", reserve: async () => [claim("model:1")] },
      { name: "c", reserve: () => aLease(endings, "c") },
      { name: "d", reserve: () => {} },
    );
    const { claims, leases } = await runner.reserve(runner.guard(someFacts(), aChatBody()));
    expect(claims).toEqual([
      { plugin: "a", claim: claim("user:1") },
      { plugin: "a", claim: claim("team:1") },
      { plugin: "b", claim: claim("model:1") },
    ]);
    expect(runner.leases.view().open).toBe(1);
    leases.settle(someUsage());
    expect(endings).toEqual(["c settled"]);
    expect(runner.leases.view().open).toBe(0);
  });

  it("takes claims as they are when they are made: the plugin cannot change them afterwards", async () => {
    const own = claim("user:1");
    const { runner } = aRunner({ name: "p", reserve: () => [own] });
    const { claims } = await runner.reserve(runner.guard(someFacts(), aChatBody()));
    own.limit = Number.NaN;
    expect(claims[0]?.claim).toMatchObject({ limit: 1 });
  });

  it("calls leases as methods of their object", async () => {
    class Account {
      used = 0;
      settle({ promptTokens }: { promptTokens: number }) {
        this.used += promptTokens;
      }
      release() {
        this.used = -1;
      }
    }
    const account = new Account();
    const { runner } = aRunner({ name: "p", reserve: () => account });
    const { leases } = await runner.reserve(runner.guard(someFacts(), aChatBody()));
    leases.settle(someUsage());
    expect(account.used).toBe(10);
  });

  it("R11: releases what earlier plugins gave if a later one refuses", async () => {
    const endings: string[] = [];
    const { runner } = aRunner(
      { name: "a", reserve: () => aLease(endings, "a") },
      { name: "b", reserve: () => Promise.reject(routerError("insufficient_quota")) },
      { name: "c", reserve: () => aLease(endings, "c") },
    );
    const error = await failure(runner.reserve(runner.guard(someFacts(), aChatBody())));
    expect(error.code).toBe("insufficient_quota");
    expect(endings).toEqual(["a released"]);
    expect(runner.leases.view()).toEqual({ open: 0, pending: 0 });
  });

  it("R10: releases a lease that comes after its time", async () => {
    for (const policy of ["closed", "open"] as const) {
      const endings: string[] = [];
      const late = deferred<Lease>();
      const { runner, clock } = aRunner({ name: "p", failure: policy, reserve: () => late.promise });
      await clock.runUntil(Promise.resolve(runner.reserve(runner.guard(someFacts(), aChatBody()))).catch(() => {}));
      late.resolve(aLease(endings, "late"));
      await clock.advance(1);
      expect(endings).toEqual(["late released"]);
      expect(runner.leases.view().open).toBe(0);
    }
  });

  it("R8: survives a late result that breaks when it is looked at", async () => {
    const late = deferred<Lease>();
    const { runner, clock } = aRunner({ name: "p", reserve: () => late.promise });
    await clock.runUntil(failure(runner.reserve(runner.guard(someFacts(), aChatBody()))));
    const hostile = Object.defineProperty({ release: () => {} }, "settle", {
      get: () => {
        throw new Error("hostile");
      },
    });
    late.resolve(junk(hostile));
    await clock.advance(1);
  });

  it.each([
    ["text", "claim"],
    ["one claim, not a list", claim("a")],
    ["half a lease", { release: () => {} }],
    ["a bad claim", [claim("a"), { ...claim("b"), limit: 0 }]],
    ["a list of anything", [undefined]],
    ["S27: claims without end", Array.from({ length: 65 }, () => claim("a"))],
  ])("fault matrix: %s is junk", async (_, result) => {
    const { runner } = aRunner({ name: "p", reserve: () => junk(result) });
    const error = await failure(runner.reserve(runner.guard(someFacts(), aChatBody())));
    expect(error.code).toBe("guardrail_error");
    expect(error.message).toContain('Plugin "p" failed in reserve: it returned');
  });

  it("names the plugin and the field of a bad claim", async () => {
    const { runner } = aRunner({ name: "p", reserve: () => [claim("a"), { ...claim("b"), limit: Number.NaN }] });
    const error = await failure(runner.reserve(runner.guard(someFacts(), aChatBody())));
    expect(error.message).toBe(
      'Plugin "p" failed in reserve: it returned a bad claim at [1]: `limit` must be an integer of 1 to 1000000000000.',
    );
  });

  it("R13, R3: ends every lease exactly once under any mix of refusing, breaking, hanging and late plugins", async () => {
    const behaviour = fc.record({
      does: fc.constantFrom("gives", "gives slowly", "gives too late", "throws", "rejects", "hangs", "nothing", "junk"),
      failure: fc.constantFrom("open" as const, "closed" as const),
    });
    const end = fc.constantFrom("settle", "release", "abort", "both");
    await fc.assert(
      fc.asyncProperty(fc.array(behaviour, { maxLength: 6 }), end, async (behaviours, end) => {
        const endings: number[] = [];
        const give = (): Lease => {
          const index = endings.push(0) - 1;
          const ended = () => {
            endings[index]!++; // pushed above
          };
          return { settle: ended, release: ended };
        };
        const fixture = aRunner(
          ...behaviours.map(
            ({ does, failure }, index): Plugin => ({
              name: `p${index}`,
              failure,
              async reserve() {
                if (does === "gives") return give();
                if (does === "throws") throw new Error("broken");
                if (does === "rejects") return Promise.reject(routerError("insufficient_quota"));
                if (does === "hangs") return forever();
                if (does === "junk") return junk(7);
                if (does === "nothing") return undefined;
                await fixture.clock.sleep(does === "gives slowly" ? 100 : 3_000);
                return give();
              },
            }),
          ),
        );
        const { runner, clock } = fixture;
        const abort = new AbortController();
        if (end === "abort") clock.schedule(50, () => abort.abort(new Error("left")));
        const request = runner.guard(someFacts({ signal: abort.signal }), aChatBody());
        const reservations = await clock.runUntil(Promise.resolve(runner.reserve(request)).catch(() => undefined));
        if (end === "settle" || end === "both") reservations?.leases.settle(someUsage());
        reservations?.leases.release();
        await clock.runAll();
        expect(endings).toEqual(endings.map(() => 1));
        expect(runner.leases.view()).toEqual({ open: 0, pending: 0 });
      }),
      { numRuns: 60 },
    );
  });
});

describe("types", () => {
  it("lets a plugin be written without naming a type", () => {
    const plugin: Plugin = {
      name: "p",
      async beforeRequest(request) {
        if (request.tags.length > 9) return { tags: ["many"] };
      },
    };
    expectTypeOf(plugin).toExtend<Plugin>();
  });
});
