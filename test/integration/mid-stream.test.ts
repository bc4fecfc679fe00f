import { describe, expect, it } from "vitest";
import { createDirectory } from "../../src/access/create-directory.js";
import { type RouterError, routerError } from "../../src/errors/router-error.js";
import { deferred } from "../../src/internal/deferred.js";
import { createMemoryLedger } from "../../src/ledger/memory-ledger.js";
import type { Plugin } from "../../src/plugins/plugin.js";
import type { ChatRequest } from "../../src/protocol/chat.js";
import type { CallOptions } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { AnyDeploymentOptions, GroupOptions, RouterOptions } from "../../src/router/router-options.js";
import { virtualClock } from "../../src/testing/index.js";
import {
  continuingTransport,
  type EventStreamOptions,
  eventStream,
  type WireAnswer,
} from "../support/continuing-transport.js";
import { deliver, HELLO, rejection } from "../support/router-fixtures.js";

const PROMPT = "Continue exactly where you stopped.";
const BEGUN = ["Once ", "upon ", "a "];
const REST = ["time ", "there ", "was."];
const WHOLE = "Once upon a time there was.";

type Step = WireAnswer | "refused" | "silence";
const whole = (tokens: readonly string[], options?: EventStreamOptions): WireAnswer => ({
  pieces: [eventStream(tokens, options)],
  ending: "complete",
});
const cut = (tokens: readonly string[], options?: EventStreamOptions): WireAnswer => ({
  pieces: [eventStream(tokens, { finishReason: null, ...options })],
  ending: "reset",
});
const raw = (text: string, ending: WireAnswer["ending"] = "reset"): WireAnswer => ({
  pieces: [new TextEncoder().encode(text)],
  ending,
});

/** The same bytes in two pieces, of which the first has so many events. */
function afterEvents(bytes: Uint8Array, count: number): Uint8Array[] {
  let at = 0;
  for (let event = 0; event < count; event++) at = Buffer.from(bytes).indexOf("\n\n", at) + 2;
  return [bytes.subarray(0, at), bytes.subarray(at)];
}

interface Setup {
  readonly group?: Partial<GroupOptions>;
  readonly router?: Partial<RouterOptions>;
  /** Of `a`, then `b`. */
  readonly deployments?: readonly Partial<AnyDeploymentOptions>[];
}

/** Upstreams that answer with these steps, whoever is asked. */
function aRouter(steps: readonly Step[], { group, router: options, deployments = [{}, {}] }: Setup = {}) {
  const left = [...steps];
  const transport = continuingTransport(() => left.shift() ?? "refused");
  const clock = virtualClock();
  const router = new Router<string>({
    transport,
    clock,
    models: {
      chat: {
        deployments: deployments.map((own, tier) => ({
          ...{ id: "ab"[tier], tier, provider: "vllm" as const, baseUrl: `http://${"ab"[tier]}/v1`, model: "m" },
          ...own,
        })),
        midStream: "continue",
        retries: 0,
        ...group,
      },
    },
    ...options,
  });
  const ask = (body: Partial<ChatRequest> = {}, call: CallOptions = {}) =>
    router.chat.completions.create({ model: "chat", messages: HELLO, ...body, stream: true }, call).withRouting();
  /** Reads a stream to its end, and sees to it that nothing is left of it. */
  const read = async (body?: Partial<ChatRequest>, call?: CallOptions) => {
    const { data, routing } = await ask(body, call);
    const delivered = await deliver(data);
    const record = await routing.done;
    await clock.advance(1_000);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    for (const { streams, waitingTokens } of router.status().groups.flatMap((each) => each.deployments)) {
      expect([streams, waitingTokens], "invariant 1").toEqual([0, 0]);
    }
    expect(transport.open, "R6").toBe(0);
    return { ...delivered, record };
  };
  return { router, transport, clock, ask, read };
}

describe("a stream that breaks", () => {
  it("invariant 11: goes on at another deployment, as the one stream that it was", async () => {
    const { read, transport } = aRouter([cut(BEGUN, { id: "first" }), whole(REST, { id: "second" })]);
    const { text, error, chunks, finishReason, record } = await read();
    expect([text, error, finishReason]).toEqual([WHOLE, undefined, "stop"]);
    expect(new Set(chunks.map(({ id, model }) => `${id} ${model}`))).toEqual(new Set(["first first"]));
    expect(chunks.filter(({ choices }) => choices[0]?.delta.role)).toHaveLength(1);
    expect(chunks.filter(({ choices }) => choices[0]?.finish_reason)).toHaveLength(1);
    expect(chunks.some((chunk) => "usage" in chunk)).toBe(false);
    expect(transport.sent.map(({ host }) => host)).toEqual(["a", "b"]);
    expect(record).toMatchObject({ outcome: "succeeded", resumed: true, deployment: "b" });
    expect(record.attempts).toMatchObject([
      { number: 1, deployment: "a", outcome: "hard", resumed: false },
      { number: 2, deployment: "b", outcome: "ok", resumed: true },
    ]);
  });

  it("R13: charges both attempts, and the caller reads what both used", async () => {
    const settled: unknown[] = [];
    const account: Plugin = {
      name: "account",
      reserve: () => ({ settle: (used) => void settled.push(used), release: () => void settled.push("released") }),
    };
    const ledger = createMemoryLedger();
    const usage = {
      prompt_tokens: 9,
      completion_tokens: 3,
      total_tokens: 12,
      prompt_tokens_details: { cached_tokens: 4 },
    };
    const { read } = aRouter([cut(BEGUN), whole(REST, { usage })], {
      router: { ledger, plugins: [account] },
      deployments: [{ price: { input: 1, output: 2 } }, { price: { input: 1, output: 2 } }],
    });
    const { chunks, record } = await read({ stream_options: { include_usage: true } });
    const entries = [];
    for await (const entry of ledger.entries()) entries.push(entry);
    expect(entries).toMatchObject([
      { attempt: 1, isEstimated: true },
      { attempt: 2, promptTokens: 9, completionTokens: 3, isEstimated: false },
    ]);
    const [first, second] = entries;
    const sum = {
      prompt_tokens: first!.promptTokens + 9,
      completion_tokens: first!.completionTokens + 3,
      prompt_tokens_details: { cached_tokens: 4 },
    };
    expect(first!.completionTokens).toBeGreaterThan(0);
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { ...sum, total_tokens: sum.prompt_tokens + sum.completion_tokens },
    });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(record.usage).toMatchObject({ promptTokens: sum.prompt_tokens, completionTokens: sum.completion_tokens });
    expect(record.usage?.costNanoUsd).toBe((first?.costNanoUsd ?? 0) + (second?.costNanoUsd ?? 0));
    expect(settled).toHaveLength(1);
  });

  it.each([
    ["goes on where hard budgets have room for the second attempt, too", 1, 2],
    ["ends in its error where they have none", 40e-6, 1],
  ])("R11: %s", async (_case, budgetUsd, attempts) => {
    // A token of either kind costs 1,000 nano-USD, and one attempt at most 35 tokens.
    const price = { input: 1, output: 1 };
    const { read, transport } = aRouter([cut(BEGUN), whole(REST)], {
      deployments: [{ price }, { price }],
      router: {
        directory: createDirectory({ keys: { laptop: { secret: `sk-${"abcdefghij".repeat(4)}`, budgetUsd } } }),
      },
    });
    const { text, error, record } = await read({ max_tokens: 10 }, { principal: { key: "laptop" } });
    expect(transport.sent).toHaveLength(attempts);
    expect(record.attempts).toHaveLength(attempts);
    expect([text, (error as RouterError | undefined)?.code]).toEqual(
      attempts === 2 ? [WHOLE, undefined] : ["Once upon a ", "upstream_unreachable"],
    );
  });

  it("is asked for no more than what is left, in the dialect's words", async () => {
    const { read, transport } = aRouter([cut(BEGUN), whole(REST)]);
    await read({ max_completion_tokens: 20, temperature: 0 });
    const { messages, max_completion_tokens, ...fields } = transport.sent[1]!;
    expect(messages).toEqual([...HELLO, { role: "assistant", content: "Once upon a" }]);
    expect(max_completion_tokens).toBe(17);
    expect(fields).toMatchObject({ continue_final_message: true, add_generation_prompt: false, temperature: 0 });
    expect(transport.sent[0]).toMatchObject({ max_completion_tokens: 20 });
    expect(transport.sent[0]).not.toHaveProperty("continue_final_message");
  });

  it("asks for one token at least, and reduces what `defaults` say, too", async () => {
    const { read, transport } = aRouter([cut(BEGUN), whole(["time"], { finishReason: "length" })], {
      deployments: [{}, { defaults: { max_tokens: 2, top_k: 1 } }],
    });
    expect(await read()).toMatchObject({ text: "Once upon a time", finishReason: "length" });
    expect(transport.sent[1]).toMatchObject({ max_tokens: 1, top_k: 1 });
  });

  it("goes on with a prompt where the deployment takes no prefill", async () => {
    const openai = { provider: "openai-compatible" as const };
    const { read, transport } = aRouter([cut(BEGUN), whole(["a ", ...REST])], {
      group: { midStream: { continue: true, prompt: PROMPT } },
      deployments: [openai, openai],
    });
    expect(await read()).toMatchObject({ text: WHOLE, error: undefined });
    expect(transport.sent[1]!.messages).toEqual([
      ...HELLO,
      { role: "assistant", content: "Once upon a " },
      { role: "user", content: PROMPT },
    ]);
  });

  it("prefers nobody for taking a prefill, but asks each in its own way", async () => {
    const { read, transport } = aRouter([cut(BEGUN), whole(REST)], {
      group: { midStream: { continue: true, prompt: PROMPT } },
    });
    expect((await read()).text).toBe(WHOLE);
    expect(transport.sent[1]!.messages.at(-1)).toEqual({ role: "assistant", content: "Once upon a" });
  });

  it("goes only where a prefill is taken, if there is no prompt: to the same once more, after a while", async () => {
    const { ask, clock } = aRouter([cut(BEGUN), whole(REST)], { deployments: [{}, { provider: "openai-compatible" }] });
    const { data, routing } = await ask();
    const delivered = deliver(data);
    await clock.runUntil(delivered);
    expect((await delivered).text).toBe(WHOLE);
    expect((await routing.done).attempts.map(({ deployment }) => deployment)).toEqual(["a", "a"]);
  });

  it("goes on with what a deployment is said by hand to take", async () => {
    const { read } = aRouter([cut(BEGUN), whole(REST)], {
      deployments: [{}, { provider: "openai-compatible", prefill: true }],
    });
    expect((await read()).text).toBe(WHOLE);
    const { read: refuse } = aRouter([cut(BEGUN), whole(REST)], {
      deployments: [{ prefill: false }, { prefill: false }],
    });
    expect(await refuse()).toMatchObject({ text: "Once upon a ", error: { code: "upstream_unreachable" } });
  });

  it("takes off what the continuation repeats, and white space that comes again", async () => {
    const { read } = aRouter([cut(["It was the best of ", "times, "]), whole([" it", " was", " the worst"])]);
    expect((await read()).text).toBe("It was the best of times, it was the worst");
    const again = aRouter([cut(["It was the best of ", "times"]), whole(["was the best ", "of times", ", it"])]);
    expect((await again.read()).text).toBe("It was the best of times, it");
  });

  it("R9: is complete where the continuation has only a finish reason", async () => {
    const { read } = aRouter([cut(BEGUN), whole([])]);
    expect(await read()).toMatchObject({ text: "Once upon a ", finishReason: "stop", error: undefined });
  });

  it("begins anew where nothing but white space came", async () => {
    const { read, transport } = aRouter([cut(["\n", " "]), whole(["\n Once"])]);
    expect((await read()).text).toBe("\n Once");
    expect(transport.sent[1]!.messages).toEqual(HELLO);
    expect(transport.sent[1]).not.toHaveProperty("continue_final_message");
  });

  it("leaves out what a continuation thinks", async () => {
    const thought = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { reasoning_content: "hm" } }] })}\n\n`;
    const { read } = aRouter([
      cut(BEGUN),
      { pieces: [new TextEncoder().encode(thought), eventStream(REST)], ending: "complete" },
    ]);
    const { text, chunks } = await read();
    expect(text).toBe(WHOLE);
    expect(JSON.stringify(chunks)).not.toContain("hm");
  });

  it("is continued once", async () => {
    const { read, transport } = aRouter([cut(BEGUN), cut(["time "]), whole(["there was."])]);
    const { text, error, record } = await read();
    expect(text).toBe("Once upon a time ");
    expect(error).toMatchObject({ code: "upstream_unreachable", deployment: "a", attempts: [{}, {}] });
    expect(error).toMatchObject({
      partial: { text: "Once upon a time ", usage: { completionTokens: 5, isEstimated: true } },
    });
    expect(record).toMatchObject({ outcome: "interrupted", resumed: true });
    expect(transport.sent).toHaveLength(2);
  });

  it("R5: keeps what may be a repetition to itself where the continuation breaks, too", async () => {
    const { read } = aRouter([cut(["It was the best of times"]), cut(["the best"])]);
    const { text, error } = await read();
    expect(text).toBe("It was the best of times");
    expect(error).toMatchObject({ partial: { text } });
  });

  it.each([
    ["refuses connections", "refused" as const],
    ["breaks before its first content", cut([])],
    ["answers nonsense", raw("data: {nonsense\n\n")],
  ])("ends in the first error where the continuation %s", async (_case, step) => {
    const { read } = aRouter([cut(BEGUN), step]);
    const { text, error, record } = await read();
    expect(text).toBe("Once upon a ");
    expect(error).toMatchObject({
      code: "upstream_unreachable",
      deployment: "a",
      attempts: [{}, {}],
      partial: { text },
    });
    expect(record).toMatchObject({ outcome: "interrupted", attempts: [{ resumed: false }, { resumed: true }] });
  });

  it("R5: ends without `continue` in an error with the text and what it used", async () => {
    const { read, transport } = aRouter([cut(BEGUN), whole(REST)], { group: { midStream: "error" } });
    const { error, record } = await read();
    expect(error).toMatchObject({
      code: "upstream_unreachable",
      partial: { text: "Once upon a ", usage: { promptTokens: 2, completionTokens: 3, isEstimated: true } },
    });
    expect(record).toMatchObject({ resumed: false, outcome: "interrupted" });
    expect(transport.sent).toHaveLength(1);
  });
});

const tool = { type: "function" as const, function: { name: "f" } };

describe("a stream is not continued", () => {
  it.each<[string, Partial<ChatRequest> & Record<string, unknown>]>([
    ["tools", { tools: [tool] }],
    ["JSON", { response_format: { type: "json_object" } }],
    ["a schema", { response_format: { type: "json_schema", json_schema: { name: "x", schema: {} } } }],
    ["an engine's own constraint", { structured_outputs: { regex: "a+" } }],
    ["a grammar", { guided_json: {} }],
    ["several choices", { n: 2 }],
    ["log probabilities", { logprobs: true }],
    ["reasoning", { reasoning_effort: "low" }],
    ["an answer that the caller has begun", { messages: [...HELLO, { role: "assistant", content: "Once" }] }],
  ])("that was asked for %s", async (_case, body) => {
    const { read, transport } = aRouter([cut(BEGUN), whole(REST)]);
    expect((await read(body)).error).toMatchObject({ code: "upstream_unreachable", partial: { text: "Once upon a " } });
    expect(transport.sent).toHaveLength(1);
  });

  const chunk = (delta: object, more: object = {}) =>
    `data: ${JSON.stringify({ id: "x", choices: [{ index: 0, delta, ...more }] })}\n\n`;
  it.each([
    ["a tool call", chunk({ tool_calls: [{ index: 0, id: "1", function: { name: "f", arguments: "" } }] })],
    ["a thought", chunk({ reasoning_content: "hm" })],
    ["a refusal", chunk({ refusal: "no" })],
    ["a signed block", chunk({ reasoning_details: [{ type: "reasoning.encrypted", data: "x" }] })],
    ["another choice", chunk({ content: "b" }, { index: 1 })],
  ])("that has had %s", async (_case, event) => {
    const { read, transport } = aRouter([raw(chunk({ content: "Once " }) + event), whole(REST)]);
    expect((await read()).error).toMatchObject({ code: "upstream_unreachable" });
    expect(transport.sent).toHaveLength(1);
  });

  it("whose text ends with a stop sequence, so that only the finish reason is missing", async () => {
    const { read, transport } = aRouter([cut(["Once", " END"]), whole(REST)]);
    expect((await read({ stop: ["END"] })).error).toMatchObject({ code: "upstream_unreachable" });
    expect(transport.sent).toHaveLength(1);
  });

  it("R9: that has its finish reason: it is complete", async () => {
    const { read, transport } = aRouter([{ pieces: [eventStream(BEGUN).subarray(0, -14)], ending: "reset" }]);
    expect(await read()).toMatchObject({ error: undefined, finishReason: "stop" });
    expect(transport.sent).toHaveLength(1);
  });

  it("R4: beyond the group's retry budget", async () => {
    const steps = Array.from({ length: 60 }, () => [cut(BEGUN), whole(REST)]).flat();
    const { ask } = aRouter(steps, { group: { cooldown: false } });
    let continued = 0;
    for (let n = 0; n < 40; n++) {
      const { data, routing } = await ask();
      await deliver(data);
      if ((await routing.done).resumed) continued += 1;
    }
    // 20 saved up, and 0.2 for each request.
    expect(continued).toBeGreaterThanOrEqual(20);
    expect(continued).toBeLessThanOrEqual(28);
  });

  it("where nobody in the group can, of which the configuration warns", async () => {
    const warnings: string[] = [];
    const { read, transport, clock } = aRouter([cut(BEGUN), whole(REST)], {
      deployments: [{ provider: "openai-compatible" }],
      router: { plugins: [{ name: "ear", onWarning: ({ message }) => void warnings.push(message) }] },
    });
    expect((await read()).error).toMatchObject({ code: "upstream_unreachable" });
    expect(transport.sent).toHaveLength(1);
    await clock.advance(10);
    expect(warnings.join()).toContain("no deployment that takes a prefill");
  });
});

describe("whoever leaves while a stream is continued", () => {
  /** The first upstream says in the same breath that it cannot go on; the second is asked, and says nothing. */
  async function resuming(setup: Setup = {}) {
    const said = Buffer.concat([
      eventStream(BEGUN, { finishReason: null }),
      Buffer.from('data: {"error":{"message":"no"}}\n\n'),
    ]);
    const parts = aRouter([{ pieces: afterEvents(said, 2), ending: "complete" }, "silence"], setup);
    const caller = new AbortController();
    const { data, routing } = await parts.ask({}, { signal: caller.signal, deadlineMs: 2_000 });
    const read: string[] = [];
    const iterator = data[Symbol.asyncIterator]();
    for (let count = 0; count < 4; count++) {
      const { value } = await iterator.next();
      read.push(value?.choices[0]?.delta.content ?? "");
    }
    expect(read.join("")).toBe("Once upon a ");
    await parts.clock.advance(5);
    expect(parts.transport.sent).toHaveLength(2);
    const isIdle = async () => {
      const record = await routing.done;
      await parts.clock.advance(1_000);
      expect(parts.router.status()).toMatchObject({ inFlight: 0, leases: 0 });
      expect(parts.transport.open).toBe(0);
      return record;
    };
    return { ...parts, caller, data, iterator, isIdle };
  }

  it.each(["cancel", "drain"] as const)("R6: aborts it, with `onDisconnect: %s`", async (onDisconnect) => {
    const { caller, iterator, isIdle } = await resuming({ group: { onDisconnect } });
    const pending = rejection(iterator.next());
    caller.abort();
    expect(await pending).toMatchObject({ code: "cancelled" });
    expect(await isIdle()).toMatchObject({
      outcome: "cancelled",
      attempts: [{ outcome: "hard" }, { outcome: "cancelled" }],
    });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it("ends it by leaving the loop", async () => {
    const { iterator, isIdle } = await resuming();
    await iterator.return?.();
    expect(await isIdle()).toMatchObject({ outcome: "cancelled" });
  });

  it("R7: meets the deadline, with all that was delivered", async () => {
    const { iterator, clock, isIdle } = await resuming();
    const pending = rejection(iterator.next());
    await clock.advance(2_000);
    expect(await pending).toMatchObject({ code: "deadline_exceeded", partial: { text: "Once upon a " } });
    expect(await isIdle()).toMatchObject({ outcome: "interrupted" });
  });

  it("R7: meets the deadline although nobody reads", async () => {
    const { iterator, clock, isIdle } = await resuming();
    await clock.advance(2_000);
    expect(await isIdle()).toMatchObject({ outcome: "interrupted" });
    expect(await rejection(iterator.next())).toMatchObject({ code: "deadline_exceeded" });
  });

  it("R8: ends it by closing the router", async () => {
    const { router, iterator, clock, isIdle } = await resuming();
    const pending = rejection(iterator.next());
    await clock.runUntil(router.close({ drainMs: 0 }));
    expect(await pending).toMatchObject({ code: "draining", partial: { text: "Once upon a " } });
    expect(await isIdle()).toMatchObject({ outcome: "interrupted" });
  });

  it("R17: is not touched by a reload", async () => {
    const { router, transport, ask, clock } = aRouter([cut(BEGUN), whole(REST)]);
    const { data, routing } = await ask();
    router.reload({ models: { chat: [{ provider: "vllm", baseUrl: "http://c/v1", model: "m" }] } });
    expect(await deliver(data)).toMatchObject({ text: WHOLE, error: undefined });
    expect((await routing.done).attempts.map(({ deployment }) => deployment)).toEqual(["a", "b"]);
    await clock.advance(1_000);
    expect(transport.open).toBe(0);
  });

  it("R13: has the second read to its end with `drain`, once it has begun", async () => {
    const slow = eventStream(REST, { usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 } });
    const { ask, transport, router } = aRouter([cut(BEGUN), { pieces: afterEvents(slow, 2), ending: "complete" }], {
      group: { onDisconnect: "drain" },
    });
    const { data, routing } = await ask();
    let text = "";
    for await (const { choices } of data) {
      text += choices[0]?.delta.content ?? "";
      if (text.includes("time")) break;
    }
    const record = await routing.done;
    expect(record).toMatchObject({ outcome: "cancelled", attempts: [{ outcome: "hard" }, { outcome: "ok" }] });
    expect(record.usage?.promptTokens).toBeGreaterThan(9);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    expect(transport.open).toBe(0);
  });
});

describe("guards of a continued stream", () => {
  const upper: Plugin = {
    name: "upper",
    async *transformStream(chunks) {
      for await (const chunk of chunks) {
        for (const choice of chunk.choices) {
          if ("delta" in choice && choice.delta.content) choice.delta.content = choice.delta.content.toUpperCase();
        }
        yield chunk;
      }
    },
    afterReply: () => undefined,
  };

  it("see the joined stream", async () => {
    const { read } = aRouter([cut(BEGUN), whole(REST)], { router: { plugins: [upper] } });
    expect(await read()).toMatchObject({
      text: WHOLE.toUpperCase(),
      error: undefined,
      record: { outcome: "succeeded", resumed: true },
    });
  });

  it("get the error where it cannot be continued, and the request is interrupted, not blocked", async () => {
    const { read } = aRouter([cut(BEGUN), "refused"], { router: { plugins: [upper] } });
    const { error, record } = await read();
    expect(error).toMatchObject({ code: "upstream_unreachable", partial: { text: "ONCE UPON A " } });
    expect(record).toMatchObject({ outcome: "interrupted" });
  });

  it("S41: that refuse while it is continued end it, and it is settled once", async () => {
    const refuse = deferred<never>();
    refuse.promise.catch(() => {});
    const impatient: Plugin = {
      name: "impatient",
      async *transformStream(chunks) {
        const iterator = chunks[Symbol.asyncIterator]();
        for (;;) {
          const { done, value } = await Promise.race([iterator.next(), refuse.promise]);
          if (done) return;
          yield value;
        }
      },
      afterReply: () => undefined,
    };
    const settled: unknown[] = [];
    const account: Plugin = {
      name: "account",
      reserve: () => ({ settle: (used) => void settled.push(used), release: () => void settled.push("released") }),
    };
    const { ask, clock, transport, router } = aRouter([cut(BEGUN), "silence"], {
      router: { plugins: [impatient, account] },
    });
    const { data, routing } = await ask();
    const delivered = deliver(data);
    await clock.advance(5);
    expect(transport.sent).toHaveLength(2);
    refuse.reject(routerError("content_policy_violation"));
    expect(await delivered).toMatchObject({ text: "Once upon a ", error: { code: "content_policy_violation" } });
    expect(await routing.done).toMatchObject({
      outcome: "blocked",
      attempts: [{ outcome: "hard" }, { outcome: "cancelled" }],
    });
    await clock.advance(1_000);
    expect(settled).toHaveLength(1);
    expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
    expect(transport.open).toBe(0);
  });

  it("see each attempt before it is made; one that refuses the second leaves the first error", async () => {
    const seen: unknown[] = [];
    const guard: Plugin = {
      name: "guard",
      beforeAttempt({ number, deployment }) {
        seen.push(deployment);
        if (number === 2) throw routerError("content_policy_violation");
      },
    };
    const { read, transport } = aRouter([cut(BEGUN), whole(REST)], { router: { plugins: [guard] } });
    const { error, record } = await read();
    expect(seen).toEqual(["a", "b"]);
    expect(error).toMatchObject({ code: "upstream_unreachable", partial: { text: "Once upon a " } });
    expect(record.outcome).toBe("interrupted");
    expect(transport.sent).toHaveLength(1);
  });
});
