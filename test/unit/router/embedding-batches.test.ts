import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unreachable } from "../../../src/errors/upstream-error.js";
import { Cancellation } from "../../../src/internal/cancellation.js";
import { systemClock } from "../../../src/internal/clock.js";
import type { EmbeddingReply, EmbeddingRequest } from "../../../src/protocol/embeddings.js";
import type { Usage } from "../../../src/protocol/usage.js";
import type { EmbeddingLimits } from "../../../src/providers/provider.js";
import {
  callInBatches,
  embeddingBatches,
  inOrder,
  inputCount,
  type WireCall,
} from "../../../src/router/embedding-batches.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";
import { anAttempt } from "../../support/attempt-context.js";
import { rejection } from "../../support/router-fixtures.js";

const request = (input: EmbeddingRequest["input"]): EmbeddingRequest => ({ model: "m", input, user: "u" });
const texts = (count: number) => Array.from({ length: count }, (_, i) => `text ${i}`);
const inputsOf = (body: EmbeddingRequest, limits: EmbeddingLimits | undefined, maxInputs?: number) =>
  embeddingBatches(body, limits, maxInputs)?.map(({ body: { input } }) => input);

describe("the inputs of an embeddings request", () => {
  it.each<[EmbeddingRequest["input"], number]>([
    ["text", 1],
    [["text"], 1],
    [["a", "b"], 2],
    [[1, 2, 3], 1],
    [[[1, 2], [3]], 2],
  ])("%j asks for %i vectors", (input, count) => expect(inputCount(input)).toBe(count));

  it("go out as they are where one call carries them", () => {
    expect(embeddingBatches(request(texts(2_000)), undefined)).toBeUndefined();
    expect(embeddingBatches(request(texts(96)), { inputs: 96 })).toBeUndefined();
    expect(embeddingBatches(request("one"), { inputs: 1, tokens: 1 })).toBeUndefined();
    // One list of token ids is one input, however long.
    expect(embeddingBatches(request([1, 2, 3]), { inputs: 1 })).toBeUndefined();
  });

  it("are split by their number, texts and token ids alike, with the other fields in each call", () => {
    const batches = embeddingBatches(request(["a", "b", "c"]), { inputs: 2 });
    expect(batches).toEqual([
      { body: { model: "m", user: "u", input: ["a", "b"] }, size: 2 },
      { body: { model: "m", user: "u", input: ["c"] }, size: 1 },
    ]);
    expect(inputsOf(request([[1], [2, 3], [4]]), { inputs: 1 })).toEqual([[[1]], [[2, 3]], [[4]]]);
  });

  it("are split by the smaller of two numbers", () => {
    expect(inputsOf(request(texts(4)), { inputs: 100 }, 2)).toHaveLength(2);
    expect(inputsOf(request(texts(4)), { inputs: 1 }, 2)).toHaveLength(4);
    expect(inputsOf(request(texts(4)), undefined, 2)).toHaveLength(2);
  });

  it("are split by their tokens: those that are given, and the estimate of texts", () => {
    expect(inputsOf(request([[1, 2], [3, 4], [5]]), { inputs: 9, tokens: 4 })).toEqual([
      [
        [1, 2],
        [3, 4],
      ],
      [[5]],
    ]);
    expect(inputsOf(request(["äöü!", "b", "c"]), { inputs: 9, tokens: 4 })).toEqual([["äöü!", "b"], ["c"]]);
  });

  it("that are too large by themselves get a call by themselves", () => {
    const long = "x".repeat(100);
    expect(inputsOf(request(["a", long, "b"]), { inputs: 9, tokens: 4 })).toEqual([["a"], [long], ["b"]]);
  });

  it("keep order and number, and every call keeps the limits", () => {
    const input = fc.oneof(
      fc.array(fc.string({ maxLength: 40 }), { minLength: 1, maxLength: 60 }),
      fc.array(fc.array(fc.nat(100), { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 60 }),
    );
    const limits = fc.record({ inputs: fc.integer({ min: 1, max: 20 }), tokens: fc.integer({ min: 1, max: 60 }) });
    fc.assert(
      fc.property(input, limits, (all, { inputs, tokens }) => {
        const batches = embeddingBatches(request(all), { inputs, tokens }) ?? [
          { body: request(all), size: all.length },
        ];
        expect(batches.flatMap(({ body }) => body.input as unknown[])).toEqual(all);
        for (const { body, size } of batches) {
          const part = body.input as (string | number[])[];
          expect(part.length).toBe(size);
          expect(size).toBeLessThanOrEqual(inputs);
          const estimate = part.reduce(
            (sum, each) => sum + (typeof each === "string" ? Buffer.byteLength(each) / 2 : each.length),
            0,
          );
          if (size > 1) expect(estimate).toBeLessThanOrEqual(tokens);
        }
      }),
    );
  });
});

const reply = (...indexes: (number | undefined)[]): EmbeddingReply => ({
  object: "list",
  model: "m",
  // A missing index is what an engine that numbers nothing sends.
  data: indexes.map((index, at) => ({ object: "embedding", index: index as number, embedding: [at] })),
  usage: { prompt_tokens: 1, total_tokens: 1 },
});
const vectorsOf = ({ data }: EmbeddingReply) => data.map(({ index, embedding }) => [index, embedding[0]]);

describe("an answer of embeddings", () => {
  it("stays as it is where it is in order", () => {
    const given = reply(0, 1);
    expect(inOrder(given, 2)).toBe(given);
  });

  it("is put in order by its numbers", () => {
    expect(vectorsOf(inOrder(reply(2, 0, 1), 3))).toEqual([
      [0, 1],
      [1, 2],
      [2, 0],
    ]);
  });

  it.each([[[0, 0]], [[7, 8]], [[-1, 0.5]], [[undefined, undefined]]])(
    "with the numbers %j is in order already",
    (indexes) => {
      expect(vectorsOf(inOrder(reply(...indexes), 2))).toEqual([
        [0, 0],
        [1, 1],
      ]);
    },
  );

  it.each([[0], [1], [3]])("with %i vectors for two inputs is none", (count) => {
    const given = reply(...Array.from({ length: count }, (_, i) => i));
    expect(() => inOrder(given, 2)).toThrow(`${count} embeddings for 2 inputs`);
  });
});

/** An attempt of which only the cancellation matters. */
function aCall() {
  const cancellation = new Cancellation();
  const call = {
    context: anAttempt({ operation: "embeddings" }),
    canBeCancelledBy: (cancel: (reason: unknown) => void) => void cancellation.onCancel(cancel),
  } as unknown as WireCall; // nothing else is asked of it
  return { call, cancel: (reason: unknown) => cancellation.cancel(reason) };
}

/** Answers with the length of each text, after a wait. */
const lengths = (input: unknown): EmbeddingReply => ({
  object: "list",
  model: "m",
  data: (input as string[]).map((text, index) => ({ object: "embedding", index, embedding: [text.length] })),
  usage: { prompt_tokens: 2, total_tokens: 2 },
});

const batchesOf = (input: string[], inputs: number) => embeddingBatches(request(input), { inputs }) ?? [];

describe("several calls of one attempt", () => {
  it("give the vectors in the order of the inputs, whichever call is done first, at most four at a time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 2, maxLength: 40 }),
        fc.integer({ min: 1, max: 5 }),
        async (delaysMs, perCall) => {
          const clock = virtualClock();
          const input = delaysMs.map((_, i) => "x".repeat(i));
          const batches = batchesOf(input, perCall);
          fc.pre(batches.length > 0);
          let underWay = 0;
          let most = 0;
          const answer = callInBatches(
            aCall().call,
            batches,
            async (_, body) => {
              most = Math.max(most, ++underWay);
              await clock.sleep(delaysMs[(body.input as string[])[0]?.length ?? 0] ?? 0);
              underWay -= 1;
              return lengths(body.input);
            },
            () => {},
          );
          await clock.advance(10_000);
          const { data, usage } = await answer;
          expect(data.map(({ index }) => index)).toEqual(input.map((_, i) => i));
          expect(data.map(({ embedding }) => embedding[0])).toEqual(input.map(({ length }) => length));
          expect(usage).toEqual({ prompt_tokens: 2 * batches.length, total_tokens: 2 * batches.length });
          expect(most).toBe(Math.min(4, batches.length));
        },
      ),
      { numRuns: 50 },
    );
  });

  it("add up all counts of usage", async () => {
    const usage = { prompt_tokens: 1, total_tokens: 1, prompt_tokens_details: { cached_tokens: 1 }, note: null };
    const answer = await callInBatches(
      aCall().call,
      batchesOf(["a", "b", "c"], 1),
      async (_, { input }) => ({ ...lengths(input), usage }),
      () => {},
    );
    expect(answer.usage).toEqual({ prompt_tokens: 3, total_tokens: 3, prompt_tokens_details: { cached_tokens: 3 } });
  });

  it("end together when one fails: the others are cancelled, no further one begins, and the error is the first one", async () => {
    const failure = unreachable("connection reset");
    const cancelled: unknown[] = [];
    const spent: (Usage | undefined)[] = [];
    let calls = 0;
    const error = await rejection(
      callInBatches(
        aCall().call,
        batchesOf(texts(20), 1),
        async (call, { input }) => {
          const number = ++calls;
          if (number === 1) return lengths(input);
          if (number === 3) {
            await systemClock.sleep(1);
            throw failure;
          }
          return new Promise((_, reject) => {
            call.canBeCancelledBy((reason) => {
              cancelled.push(reason);
              reject(reason);
            });
          });
        },
        (usage) => spent.push(usage),
      ),
    );
    expect(error).toBe(failure);
    // The first was answered, and a fifth took its place.
    expect(calls).toBe(5);
    expect(cancelled).toEqual([failure, failure, failure]);
    expect(spent).toEqual([{ prompt_tokens: 2, completion_tokens: 0, total_tokens: 2 }]);
  });

  it("end together when the attempt is cancelled, also while they wait for a credential", async () => {
    const { call, cancel } = aCall();
    let calls = 0;
    const answer = rejection(
      callInBatches(
        call,
        batchesOf(texts(20), 1),
        async (part, { input }) => {
          calls += 1;
          await part.prepared(new Promise(() => {}));
          return lengths(input);
        },
        () => expect.unreachable("nothing was spent"),
      ),
    );
    const reason = new Error("left");
    cancel(reason);
    expect(await answer).toBe(reason);
    expect(calls).toBe(4);
  });

  it("do not send what was prepared in the turn of the cancellation", async () => {
    const { call, cancel } = aCall();
    const reason = new Error("left");
    let sent = 0;
    const answer = rejection(
      callInBatches(
        call,
        batchesOf(texts(2), 1),
        async (part, { input }) => {
          await part.prepared(Promise.resolve("key"));
          sent += 1;
          return lengths(input);
        },
        () => {},
      ),
    );
    cancel(reason);
    expect(await answer).toBe(reason);
    expect(sent).toBe(0);
  });

  it("are a bad response when one of them lacks a vector", async () => {
    const error = await rejection(
      callInBatches(
        aCall().call,
        batchesOf(["a", "b", "c"], 2),
        async () => lengths(["a"]),
        () => {},
      ),
    );
    expect(error).toMatchObject({
      errorClass: "network",
      message: expect.stringContaining("1 embeddings for 2 inputs"),
    });
  });

  it("have bounds together: vectors cannot grow without end", async () => {
    const embedding = new Array<number>(5_000_000).fill(0);
    let calls = 0;
    const error = await rejection(
      callInBatches(
        aCall().call,
        batchesOf(texts(30), 1),
        async () => {
          calls += 1;
          return { ...lengths(["a"]), data: [{ object: "embedding", index: 0, embedding }] };
        },
        () => {},
      ),
    );
    expect(error).toMatchObject({ errorClass: "network", message: expect.stringContaining("too large") });
    expect(calls).toBeLessThan(10);
  });
});
