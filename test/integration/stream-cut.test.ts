import { describe, expect, it } from "vitest";
import { unreachable } from "../../src/errors/upstream-error.js";
import { answerCall } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { Transport } from "../../src/transport/transport.js";
import { textsOf } from "../support/openai-streams.js";
import { HELLO } from "../support/router-fixtures.js";

const TEXT_PIECES = ["Zürich ", "“Hbf” \\ ", "\n", "🚂🚃", ' {"a":1}'];
const chunk = (choices: unknown, usage?: object) =>
  `data: ${JSON.stringify({ id: "c1", object: "chat.completion.chunk", created: 1, model: "m", choices, ...usage })}\r\n\r\n`;
const delta = (fields: object, finish_reason: string | null = null) =>
  chunk([{ index: 0, delta: fields, finish_reason }]);
const EVENTS = [
  ": hello\n\n",
  delta({ role: "assistant", content: "" }),
  ...TEXT_PIECES.map((content) => delta({ content })),
  delta({}, "stop"),
  chunk([], { usage: { prompt_tokens: 1, completion_tokens: 5, total_tokens: 6 } }),
  "data: [DONE]\n\n",
  "data: what comes later is nobody's\n\n",
].join("");
/** With other line ends, events of a known shape are relayed without being decoded. */
const STREAMS = { chunks: Buffer.from(EVENTS), text: Buffer.from(EVENTS.replaceAll("\r\n", "\n")) } as const;
const TEXT = TEXT_PIECES.join("");

/** One upstream answer from memory, in the given pieces; `ending` says how the body ends. */
function fromMemory(pieces: readonly Uint8Array[], ending: "complete" | "reset"): Transport {
  return {
    bufferedBytes: 0,
    async close() {},
    send() {
      const left = [...pieces];
      let reason: unknown;
      return {
        response: Promise.resolve({
          status: 200,
          headers: new Map([["content-type", "text/event-stream; charset=utf-8"]]),
          body: {
            async read() {
              if (reason) throw reason;
              const piece = left.shift();
              if (!piece && ending === "reset") throw unreachable("connection reset");
              return piece;
            },
            text: () => Promise.reject(new Error("a stream is not read whole")),
          },
        }),
        cancel(given) {
          reason = given;
        },
      };
    },
  };
}

interface Seen {
  readonly chunks: unknown[];
  readonly code: string | undefined;
}

async function streamOf(form: "chunks" | "text", transport: Transport): Promise<Seen> {
  const router = new Router({
    models: {
      chat: { deployments: [{ provider: "openai-compatible", baseUrl: "http://memory/v1", model: "m" }], retries: 0 },
    },
    transport,
  });
  const chunks: unknown[] = [];
  let code: string | undefined;
  try {
    const answer = await router[answerCall]({
      operation: "chat.completions",
      body: { model: "chat", messages: HELLO, stream: true, stream_options: { include_usage: true } },
      options: undefined,
      form,
    });
    if (answer.kind !== "stream") throw new Error("expected a stream");
    for (let batch = await answer.stream.next(); batch; batch = await answer.stream.next()) {
      for (const each of batch) {
        if (typeof each === "string" || each instanceof Uint8Array) {
          chunks.push(...textsOf(each).map((text) => JSON.parse(text)));
        } else chunks.push(each);
      }
    }
  } catch (error) {
    code = (error as { code?: string }).code ?? String(error);
  }
  await router.close();
  return { chunks, code };
}

const textOf = ({ chunks }: Seen) =>
  (chunks as { choices: { delta: { content?: string } }[] }[])
    .map(({ choices }) => choices[0]?.delta.content ?? "")
    .join("");
const finishesOf = ({ chunks }: Seen) =>
  (chunks as { choices: { finish_reason: unknown }[] }[]).filter(({ choices }) => choices[0]?.finish_reason).length;

describe.each(["chunks", "text"] as const)("a stream delivered as %s", (form) => {
  const STREAM = STREAMS[form];
  it("R24: is the same, however its bytes are cut in two", { timeout: 60_000 }, async () => {
    const whole = await streamOf(form, fromMemory([STREAM], "complete"));
    expect([textOf(whole), finishesOf(whole), whole.code]).toEqual([TEXT, 1, undefined]);
    for (let at = 1; at < STREAM.length; at++) {
      const pieces = [STREAM.subarray(0, at), STREAM.subarray(at)];
      expect(await streamOf(form, fromMemory(pieces, "complete")), `cut at byte ${at}`).toEqual(whole);
    }
    const bytes = Array.from(STREAM, (_, index) => STREAM.subarray(index, index + 1));
    expect(await streamOf(form, fromMemory(bytes, "complete")), "byte by byte").toEqual(whole);
  });

  it("R5, R9: that breaks at any byte delivers a prefix, and is complete only with its finish reason", {
    timeout: 60_000,
  }, async () => {
    const finishAt = STREAM.indexOf('"finish_reason":"stop"');
    const usageEnd = STREAM.indexOf("data: [DONE]");
    let complete = 0;
    for (let at = 0; at <= STREAM.length; at++) {
      for (const ending of ["complete", "reset"] as const) {
        // One event at a time, so that nothing is retried for having come together.
        const seen = await streamOf(
          form,
          fromMemory(
            [STREAM.subarray(0, 200), STREAM.subarray(200, at)].filter((p) => p.length > 0 && at > 200),
            ending,
          ),
        );
        const text = textOf(seen);
        expect(TEXT.startsWith(text), `byte ${at}: ${JSON.stringify(text)}`).toBe(true);
        if (seen.code === undefined) {
          complete += 1;
          expect([text, finishesOf(seen)], `byte ${at}, ${ending}`).toEqual([TEXT, 1]);
          expect(at).toBeGreaterThan(finishAt);
        } else {
          expect(seen.code).toBe("upstream_unreachable");
        }
        if (at >= usageEnd + "data: [DONE]\n\n".length) expect(seen.code, `byte ${at}, ${ending}`).toBeUndefined();
      }
    }
    expect(complete).toBeGreaterThan(0);
  });
});
