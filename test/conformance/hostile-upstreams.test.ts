import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { UpstreamError } from "../../src/errors/upstream-error.js";
import type { ChatCompletion } from "../../src/protocol/chat.js";
import type { Completion } from "../../src/protocol/completions.js";
import type { Chunk, RequestBody } from "../../src/protocol/operations.js";
import { knownProviders } from "../../src/providers/registry.js";
import {
  connectVector,
  type DecodedStream,
  decodeStream,
  readFixtures,
  type Vector,
  vectorAttempt,
  vectorBody,
  vectorBytes,
  vectorKey,
} from "../support/vectors.js";

/** Translating dialects against bytes, JSON and bodies that are almost right; fast-check prints the seed of a failure. */
const fixtures = readFixtures();
const RUNS = { numRuns: 1_000 };

/** A change of a JSON value: where, and into what. */
interface Mutation {
  readonly place: number;
  readonly kind: "replace" | "remove" | "repeat";
  readonly value: unknown;
}
const mutations = fc.array(
  fc.record({
    place: fc.nat(1_000),
    kind: fc.constantFrom<Mutation["kind"]>("replace", "remove", "repeat"),
    value: fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom<unknown>(null, "", -1, 1e99, {}, [], [[]], "__proto__"),
    ),
  }),
  { minLength: 1, maxLength: 4 },
);

type Holder = Record<string, unknown> | unknown[];

/** A copy of `value` in which something is replaced, missing or doubled. */
function mutated(value: unknown, changes: readonly Mutation[]): unknown {
  const copy = { root: structuredClone(value) };
  for (const { place, kind, value: given } of changes) {
    // A value may be chosen twice, and must not end up inside itself.
    const replacement = structuredClone(given);
    const places = placesOf(copy);
    const chosen = places[place % places.length];
    if (!chosen) continue;
    const { holder, key } = chosen;
    if (Array.isArray(holder)) {
      const index = Number(key);
      if (kind === "remove") holder.splice(index, 1);
      else if (kind === "repeat") holder.splice(index, 0, structuredClone(holder[index]));
      else holder[index] = replacement;
    } else if (kind === "remove" && holder !== copy) delete holder[key];
    else holder[key] = replacement;
  }
  return copy.root;
}

function placesOf(holder: Holder): { holder: Holder; key: string }[] {
  return Object.entries(holder).flatMap(([key, value]: [string, unknown]) => [
    { holder, key },
    ...(typeof value === "object" && value !== null ? placesOf(value as Holder) : []),
  ]);
}

/** Dialects that send finish reasons with the end of the stream; others have sent them when it breaks after that. */
const HOLDS_FINISH: ReadonlySet<string> = new Set(["anthropic", "gemini"]);

/** What must hold of everything that comes out of a stream, however broken it is. */
function expectSound(provider: string, decoded: DecodedStream<Chunk>): void {
  const { chunks, error, summary, contentAt } = decoded;
  const finished = new Map<number, number>();
  const begun = new Set<number>();
  for (const { id, choices, model } of chunks) {
    expect(id).toBe(chunks[0]?.id);
    expect(model).toBe(chunks[0]?.model);
    for (const choice of choices) {
      if (!("delta" in choice)) continue;
      expect(finished.has(choice.index), "content after the finish reason").toBe(false);
      expect("role" in choice.delta, "a role begins a choice, and nothing else").toBe(!begun.has(choice.index));
      begun.add(choice.index);
      if (choice.finish_reason !== null) finished.set(choice.index, 1);
    }
  }
  if (error === undefined) {
    expect(begun.size, "an answer without choices").toBeGreaterThan(0);
    expect(finished.size, "R9: a choice without a finish reason").toBe(begun.size);
    expect(summary.isComplete).toBe(true);
    expect(contentAt).toBeDefined();
  } else if (HOLDS_FINISH.has(provider)) {
    expect(finished.size, "wire S4: a finish reason in a stream that broke").toBe(0);
  }
  JSON.stringify(chunks);
}

function expectChoices({ choices }: ChatCompletion | Completion): void {
  expect(choices.length).toBeGreaterThan(0);
  for (const { finish_reason: reason } of choices) {
    expect(["stop", "length", "tool_calls", "content_filter"]).toContain(reason);
  }
}

/** The result, or the error if it is one that can be classified. Everything else is a defect. */
function outcomeOf<T>(run: () => T): T | UpstreamError {
  try {
    return run();
  } catch (error) {
    if (error instanceof UpstreamError) return error;
    throw error;
  }
}

/** The dialects of which there are fixtures. */
const providers = [...new Set(fixtures.map(({ provider }) => provider))];

describe.each(providers)("%s", (provider) => {
  const own = fixtures.filter((fixture) => fixture.provider === provider);
  const upstreamOf = (vector: Vector) => {
    const known = knownProviders.get(provider);
    if (!known) throw new Error(`unknown provider ${provider}`);
    return connectVector(known, vector);
  };
  const decode = (vector: Vector, bytes: Uint8Array) =>
    decodeStream(upstreamOf(vector).openStream(vectorAttempt(vector)), [bytes]);

  const streams = own.filter(({ providerStream }) => providerStream !== undefined);
  /** Frames of other kinds are damaged as bytes only. */
  const texts = streams.filter(({ providerStream }) => providerStream?.raw !== undefined);
  beforeAll(async () => {
    // As in the router: what a stream needs may be loaded when its request is authorized.
    for (const vector of streams) {
      const upstream = upstreamOf(vector);
      await upstream.authorize(upstream.encode(vectorBody(vector), vectorAttempt(vector)), vectorKey(vector));
    }
  });

  const replies = own.filter(({ providerResponse }) => providerResponse !== undefined);

  it("R8: survives streams whose bytes are damaged, and never ends them as whole by mistake", () => {
    const damage = fc.array(fc.record({ at: fc.nat(), length: fc.nat(40), bytes: fc.uint8Array({ maxLength: 20 }) }), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(fc.constantFrom(...streams), damage, (vector, places) => {
        let bytes = Buffer.from(vectorBytes(vector));
        for (const { at, length, bytes: inserted } of places) {
          const from = at % (bytes.length + 1);
          bytes = Buffer.concat([bytes.subarray(0, from), inserted, bytes.subarray(from + length)]);
        }
        expectSound(provider, decode(vector, bytes));
      }),
      RUNS,
    );
  });

  // Binary frames have no text to mutate; what becomes of damaged ones is the test above.
  if (texts.length > 0) {
    it("R8: survives streams whose events say something else, come twice, or are missing", () => {
      fc.assert(
        fc.property(fc.constantFrom(...texts), mutations, (vector, changes) => {
          const events = mutated(eventsOf(vector), changes);
          const text = (Array.isArray(events) ? events : [events])
            .map((event: unknown) => eventText(vector, event))
            .join("");
          expectSound(provider, decode(vector, new TextEncoder().encode(text)));
        }),
        RUNS,
      );
    });
  }

  it("R8: survives whole answers that say something else", () => {
    fc.assert(
      fc.property(fc.constantFrom(...replies), mutations, (vector, changes) => {
        const text = JSON.stringify(mutated(vector.providerResponse, changes)) ?? "";
        const outcome = outcomeOf(() =>
          upstreamOf(vector).decodeReply({ status: 200, headers: new Map(), text }, vectorAttempt(vector)),
        );
        if (outcome instanceof UpstreamError) return;
        if ("choices" in outcome) expectChoices(outcome);
        else expect(outcome.object).toBe("list");
      }),
      RUNS,
    );
  });

  it("R8: tells what failed whatever the error's status, headers and body are", () => {
    const [vector] = own;
    if (!vector) throw new Error("there are no fixtures");
    const upstream = upstreamOf(vector);
    const bodies = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .tuple(fc.constantFrom(...replies), mutations)
        .map(([{ providerResponse }, changes]) => JSON.stringify(mutated(providerResponse, changes)) ?? ""),
    );
    const headers = fc.dictionary(
      fc.constantFrom(
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "content-type",
        "anthropic-ratelimit-tokens-remaining",
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.integer({ min: 300, max: 599 }), headers, bodies, (status, fields, text) => {
        const error = upstream.decodeError(
          { status, headers: new Map(Object.entries(fields)), text },
          vectorAttempt(vector),
        );
        expect(error).toBeInstanceOf(UpstreamError);
        expect(error.message).not.toBe("");
        expect(error.status).toBe(status);
        if (error.retryAfterMs !== undefined) expect(error.retryAfterMs).toBeGreaterThanOrEqual(0);
      }),
      RUNS,
    );
  });

  it("encodes a body that is almost right, or says what is wrong with it, and never changes it", () => {
    fc.assert(
      fc.property(fc.constantFrom(...own), mutations, (vector, changes) => {
        const body = mutated(vector.openaiRequest, changes);
        if (typeof body !== "object" || body === null || Array.isArray(body)) return;
        const before = JSON.stringify(body);
        const outcome = outcomeOf(() =>
          upstreamOf(vector).encode(body as unknown as RequestBody, vectorAttempt(vector)),
        );
        expect(JSON.stringify(body)).toBe(before);
        if (outcome instanceof UpstreamError) expect(outcome.errorClass).toBe("invalid_request");
        else expect(JSON.parse(outcome.body ?? "")).toBeTypeOf("object");
      }),
      RUNS,
    );
  });
});

/** The events of a stream that are JSON. */
function eventsOf({ providerStream }: Vector): unknown[] {
  return (providerStream?.raw ?? "")
    .split("\n")
    .map((line) => line.replace(/^data: /, ""))
    .flatMap((line): unknown[] => {
      try {
        return line.startsWith("{") ? [JSON.parse(line)] : [];
      } catch {
        return [];
      }
    });
}

function eventText({ providerStream }: Vector, event: unknown): string {
  return providerStream?.framing === "ndjson" ? `${JSON.stringify(event)}\n` : `data: ${JSON.stringify(event)}\n\n`;
}
