import { beforeAll, describe, expect, it } from "vitest";
import { classify } from "../../src/errors/classify.js";
import { openaiErrorOf } from "../../src/errors/openai-error.js";
import type { UpstreamError } from "../../src/errors/upstream-error.js";
import type { Chunk } from "../../src/protocol/operations.js";
import { knownProviders } from "../../src/providers/registry.js";
import { textsOf } from "./openai-streams.js";
import {
  connectVector,
  cutPositions,
  decodeStream,
  Placeholders,
  singleBytes,
  type Vector,
  vectorAttempt,
  vectorBody,
  vectorBytes,
  vectorKey,
} from "./vectors.js";

/** The tests that one vector asks for: its request, and its answer whole, byte by byte and cut anywhere. */
export function describeVector(vector: Vector): void {
  describe(vector.name, () => {
    const provider = knownProviders.get(vector.provider);
    if (!provider) throw new Error(`unknown provider ${vector.provider}`);
    const upstream = connectVector(provider, vector);
    // As before each answer: some dialects load what they need for it meanwhile.
    beforeAll(async () => {
      await upstream.authorize(upstream.encode(vectorBody(vector), vectorAttempt(vector)), vectorKey(vector));
    });

    it("sends what must reach the upstream", async () => {
      const body = vectorBody(vector);
      const encoded = upstream.encode(body, vectorAttempt(vector));
      const sent = await upstream.authorize(encoded, vectorKey(vector));
      expect(body).toEqual(vector.openaiRequest);
      expect(sent.method).toBe(vector.providerHttp.method);
      expect(upstream.origin + sent.path).toBe(vector.providerHttp.url);
      expect(sent.headers).toMatchObject(vector.providerHttp.headers);
      expect(JSON.parse(sent.body ?? "null")).toEqual(vector.providerRequest);
      if (vector.dropped) expect(encoded.dropped ?? []).toEqual(vector.dropped);
    });

    if (vector.openaiResponse !== undefined) {
      it("repairs the whole answer", () => {
        const reply = upstream.decodeReply(wholeAnswer(vector), vectorAttempt(vector));
        expect(new Placeholders().label(reply, vector.openaiResponse)).toEqual(vector.openaiResponse);
      });
    }

    if (vector.errorClass !== undefined && vector.providerStream === undefined) {
      it("reports the error", () => {
        expectError(errorOf(vector), vector);
      });
    }

    if (vector.providerStream !== undefined) streamTests(vector);

    function streamTests({ openaiChunks: chunks = [], done }: Vector) {
      const bytes = vectorBytes(vector);
      const decode = (pieces: Iterable<Uint8Array>) => decodeStream(upstream.openStream(vectorAttempt(vector)), pieces);
      const expectChunks = (actual: readonly unknown[]) =>
        expect(new Placeholders().label(actual, chunks)).toEqual(chunks);

      it("repairs the stream, fed at once", () => {
        const { chunks: actual, error } = decode([bytes]);
        expectChunks(actual);
        expect(error === undefined).toBe(done);
        if (vector.errorClass !== undefined) expectError(error, vector);
      });

      it("repairs the stream, fed byte by byte", () => {
        expectChunks(decode(singleBytes(bytes)).chunks);
      });

      it("R24: repairs the stream alike wherever it is cut", () => {
        const whole = decode([bytes]);
        for (const position of cutPositions(bytes)) {
          const { chunks: actual, error } = decode([bytes.subarray(0, position), bytes.subarray(position)]);
          expect(actual, `cut at byte ${position}`).toEqual(whole.chunks);
          expect(error?.message, `cut at byte ${position}`).toBe(whole.error?.message);
        }
      });

      it("R9: a stream that ends too early is no success, and what came of it is the beginning of the whole", () => {
        const choicesOf = (decoded: { readonly chunks: readonly Chunk[] }) =>
          decoded.chunks.flatMap((chunk): unknown[] => chunk.choices);
        const whole = choicesOf(decode([bytes]));
        for (const position of cutPositions(bytes)) {
          const cut = decode([bytes.subarray(0, position)]);
          const choices = choicesOf(cut);
          expect(choices, `cut at byte ${position}`).toEqual(whole.slice(0, choices.length));
          if (cut.error === undefined) expect(choices, `cut at byte ${position}`).toHaveLength(whole.length);
        }
      });

      it("gives the same chunks as text", () => {
        const objects = decode([bytes]);
        for (const pieces of [singleBytes(bytes), [bytes]]) {
          const decoder = upstream.openTextStream?.(vectorAttempt(vector));
          if (!decoder) return;
          const texts = decodeStream(decoder, pieces);
          expect(texts.chunks.flatMap(textsOf).map((text) => JSON.parse(text))).toEqual(objects.chunks);
          expect(texts.contentAt).toBe(objects.contentAt);
          expect(texts.error?.message).toBe(objects.error?.message);
        }
      });
    }

    function errorOf({ providerStatus = 200 }: Vector): UpstreamError {
      const answer = wholeAnswer(vector);
      if (providerStatus >= 300) return upstream.decodeError(answer, vectorAttempt(vector));
      try {
        upstream.decodeReply(answer, vectorAttempt(vector));
      } catch (error) {
        return error as UpstreamError; // what `decodeReply` throws
      }
      throw new Error("the answer was taken for a success");
    }
  });
}

function wholeAnswer({ providerStatus = 200, providerHeaders = {}, providerResponse }: Vector) {
  return {
    status: providerStatus,
    headers: new Map(Object.entries(providerHeaders)),
    text: JSON.stringify(providerResponse),
  };
}

function expectError(error: UpstreamError | undefined, vector: Vector) {
  if (!error) throw new Error("no error came");
  expect(error.errorClass).toBe(vector.errorClass);
  expect(classify(error, false).sameAgain).toBe(vector.retryable);
  const isAbsolute = vector.note?.includes("depends on the clock") ?? false;
  if (!isAbsolute) expect(error.retryAfterMs ?? null).toBe(vector.retryAfterMs);
  // Of a stream that was cut the words are free.
  const form = openaiErrorOf(error);
  if (error.errorClass === "network") expect(form.status).toBe(vector.openaiError?.status);
  else expect(form).toEqual(vector.openaiError);
}
