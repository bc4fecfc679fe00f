import { describe, expect, it } from "vitest";
import type { PartialReply } from "../../src/errors/router-error.js";
import { answerCall } from "../../src/router/call.js";
import { Router } from "../../src/router/router.js";
import type { GroupOptions } from "../../src/router/router-options.js";
import type { RoutingRecord } from "../../src/router/routing-record.js";
import { virtualClock } from "../../src/testing/index.js";
import type { Transport } from "../../src/transport/transport.js";
import { type ContinuingTransport, continuingTransport, restOf } from "../support/continuing-transport.js";
import { HELLO } from "../support/router-fixtures.js";

const PARTS = ["Zürich ", "“Hbf”", "\n", "🚂", " ha", " ha", " ha", "  ", '{"a":', "ll", "é", " 12"];
/** 60 tokens, of which some repeat themselves, and some end in white space. */
const TOKENS = Array.from({ length: 60 }, (_, index) => PARTS[index % PARTS.length]! + (index % 7 === 0 ? index : ""));
const TEXT = TOKENS.join("");

const event = (fields: object) => `data: ${JSON.stringify(fields)}\n\n`;
/** As short as an event may be: the router fills in the rest. */
const delta = (content: string) => event({ choices: [{ delta: { content } }] });
const USAGE = { prompt_tokens: 5, completion_tokens: 60, total_tokens: 65 };

function bytesOf(tokens: readonly string[], id: string): Buffer {
  const role = event({ id, created: id.length, model: id, choices: [{ delta: { role: "assistant", content: "" } }] });
  const finish = event({ choices: [{ delta: {}, finish_reason: "stop" }] });
  const usage = { ...USAGE, completion_tokens: tokens.length, total_tokens: 5 + tokens.length };
  return Buffer.from(`${role}${tokens.map(delta).join("")}${finish}${event({ choices: [], usage })}data: [DONE]\n\n`);
}

const WHOLE = bytesOf(TOKENS, "first");
/** From here on something of the answer has come. */
const COMMITTED = WHOLE.indexOf("\n\n", WHOLE.indexOf("\n\n") + 2) + 2;

/** The first upstream's body is cut after so many bytes; whoever is asked next goes on from what it is given. */
function cutAfter(bytes: number): ContinuingTransport {
  return continuingTransport((chat, number) => {
    // The first event comes by itself, so that what breaks is a stream, and no attempt that is made again.
    const split = Math.min(bytes, COMMITTED);
    const pieces = [WHOLE.subarray(0, split), WHOLE.subarray(split, bytes)].filter(({ length }) => length > 0);
    if (number === 1) return { pieces, ending: "reset" };
    const last = chat.messages.at(-1);
    const begun = last?.role === "assistant" ? last.content : "";
    return { pieces: [bytesOf(restOf(TOKENS, begun), "second")], ending: "complete" };
  });
}

type ChatRouter = Pick<Router, typeof answerCall | "status">;

interface Seen {
  readonly text: string;
  readonly roles: number;
  readonly finishes: number;
  readonly ids: readonly string[];
  readonly usage: { readonly completion_tokens: number } | undefined;
  readonly partial: PartialReply | undefined;
  readonly code: string | undefined;
  readonly record: RoutingRecord | undefined;
}

/** Reads one stream after another, each from upstreams of its own, far enough apart for retries to be earned again. */
function reader(form: "chunks" | "text", group: Partial<GroupOptions>) {
  const deployments = ["a", "b"].map((id, tier) => ({
    ...{ id, tier, provider: "vllm" as const, model: "m" },
    baseUrl: `http://${id}/v1`,
  }));
  const clock = virtualClock({ turns: 1 });
  let current = cutAfter(0);
  const transport: Transport = { bufferedBytes: 0, close: async () => {}, send: (request) => current.send(request) };
  const models = { chat: { deployments, cooldown: false as const, affinity: false, ...group } };
  const router = new Router({ models, transport, clock });
  return async (bytes: number) => {
    await clock.advance(5_000);
    current = cutAfter(bytes);
    return read(router, current, form);
  };
}

async function read(router: ChatRouter, transport: ContinuingTransport, form: "chunks" | "text"): Promise<Seen> {
  const chunks: {
    id: string;
    choices: { delta: { role?: string; content?: string }; finish_reason: unknown }[];
    usage?: Seen["usage"];
  }[] = [];
  let thrown: { code?: string; partial?: PartialReply } | undefined;
  let record: RoutingRecord | undefined;
  try {
    const answer = await router[answerCall]({
      operation: "chat.completions",
      body: { model: "chat", messages: HELLO, stream: true, stream_options: { include_usage: true } },
      options: undefined,
      form,
    });
    if (answer.kind !== "stream") throw new Error("expected a stream");
    record = answer.routing;
    for (let batch = await answer.stream.next(); batch; batch = await answer.stream.next()) {
      for (const piece of batch) {
        const isRendered = typeof piece === "string" || piece instanceof Uint8Array;
        for (const text of isRendered ? jsonTexts(piece) : []) chunks.push(JSON.parse(text));
        if (!isRendered) chunks.push(piece as never); // a chunk of a chat
      }
    }
  } catch (error) {
    thrown = error as NonNullable<typeof thrown>;
  }
  if (record) record = await record.done;
  expect(router.status()).toMatchObject({ inFlight: 0, leases: 0 });
  expect(transport.open).toBe(0);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  return {
    text: choices.map((choice) => choice.delta.content ?? "").join(""),
    roles: choices.filter((choice) => choice.delta.role).length,
    finishes: choices.filter((choice) => choice.finish_reason).length,
    ids: [...new Set(chunks.map(({ id }) => id))],
    usage: chunks.map(({ usage }) => usage).find((usage) => usage) ?? undefined,
    partial: thrown?.partial,
    code: thrown && (thrown.code ?? String(thrown)),
    record,
  };
}

/** What a relay writes is a JSON text, or events. */
function jsonTexts(piece: string | Uint8Array): string[] {
  if (typeof piece === "string") return [piece];
  const events = new TextDecoder().decode(piece).split("\n\n");
  return events.filter((text) => text.startsWith("data: ")).map((text) => text.slice(6));
}

describe.each(["chunks", "text"] as const)("a stream of 60 tokens, delivered as %s and cut at any byte", (form) => {
  const step = form === "chunks" ? 1 : 3;

  it("invariant 11: is the exact 60 with `continue`, as one stream", { timeout: 120_000 }, async () => {
    const readCut = reader(form, { midStream: "continue" });
    let resumed = 0;
    for (let at = 1; at <= WHOLE.length; at += step) {
      const seen = await readCut(at);
      expect([seen.code, seen.text, seen.roles, seen.finishes], `byte ${at}`).toEqual([undefined, TEXT, 1, 1]);
      expect(seen.ids, `byte ${at}`).toEqual(at < COMMITTED ? ["second"] : ["first"]);
      if (!seen.record?.resumed) continue;
      resumed += 1;
      expect(seen.usage).toMatchObject({ completion_tokens: seen.record.usage?.completionTokens });
    }
    expect(resumed).toBeGreaterThan((WHOLE.length - COMMITTED) / step / 2);
  });

  it("R5: ends without it in a typed error that carries what was delivered", { timeout: 120_000 }, async () => {
    const readCut = reader(form, {});
    let broken = 0;
    for (let at = COMMITTED; at <= WHOLE.length; at += step) {
      const seen = await readCut(at);
      if (seen.code === undefined) {
        expect([seen.text, seen.finishes], `byte ${at}`).toEqual([TEXT, 1]);
        continue;
      }
      broken += 1;
      expect([seen.code, seen.finishes, seen.record?.outcome]).toEqual(["upstream_unreachable", 0, "interrupted"]);
      expect(TEXT.startsWith(seen.text), `byte ${at}`).toBe(true);
      // Texts of relays are kept by nobody.
      if (form === "chunks") expect(seen.partial?.text, `byte ${at}`).toBe(seen.text);
      expect(seen.partial?.usage).toMatchObject({ isEstimated: true });
    }
    expect(broken).toBeGreaterThan(100);
  });
});
