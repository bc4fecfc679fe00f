import { unreachable } from "../../src/errors/upstream-error.js";
import type { Exchange, Transport, TransportRequest } from "../../src/transport/transport.js";

/** A chat body as it went over the wire. */
export interface SentChat {
  readonly host: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly [field: string]: unknown;
}

/** The answer of one exchange: its bytes in pieces, and how the body ends. */
export interface WireAnswer {
  readonly pieces: readonly Uint8Array[];
  readonly ending: "complete" | "reset";
}

export interface ContinuingTransport extends Transport {
  readonly sent: readonly SentChat[];
  /** Neither read to their end nor cancelled. */
  readonly open: number;
}

/** Upstreams in memory: each chat is answered at once with what `answer` makes of it. */
export function continuingTransport(
  answer: (chat: SentChat, number: number) => WireAnswer | "refused" | "silence",
): ContinuingTransport {
  const sent: SentChat[] = [];
  let open = 0;
  return {
    bufferedBytes: 0,
    sent,
    get open() {
      return open;
    },
    async close() {},
    send(request): Exchange {
      const chat = chatOf(request);
      sent.push(chat);
      const answered = answer(chat, sent.length);
      let isOver = false;
      let isCancelled = false;
      let stop!: (reason: unknown) => void;
      const stopped = new Promise<never>((_, reject) => {
        stop = reject;
      });
      stopped.catch(() => {});
      open += 1;
      const end = () => {
        if (!isOver) open -= 1;
        isOver = true;
      };
      const cancel = (reason: unknown) => {
        if (isOver) return;
        isCancelled = true;
        end();
        stop(reason);
      };
      if (answered === "refused") {
        end();
        return { response: Promise.reject(unreachable("connection refused")), cancel };
      }
      request.onConnected?.();
      if (answered === "silence") return { response: stopped, cancel };
      const left = [...answered.pieces];
      const read = async () => {
        if (isCancelled) return stopped;
        if (isOver) return undefined;
        const piece = left.shift();
        if (piece) return piece;
        end();
        if (answered.ending === "reset") throw unreachable("connection reset");
        return undefined;
      };
      return {
        response: Promise.resolve({
          status: 200,
          headers: new Map([["content-type", "text/event-stream"]]),
          body: { read, text: () => Promise.reject(new Error("a stream is not read whole")) },
        }),
        cancel,
      };
    },
  };
}

function chatOf({ origin, body }: TransportRequest): SentChat {
  const chat = JSON.parse(String(body)) as Omit<SentChat, "host">; // the dialect wrote it
  return { ...chat, host: new URL(origin).hostname } as SentChat;
}

export interface EventStreamOptions {
  readonly id?: string;
  readonly usage?: object | undefined;
  readonly finishReason?: string | null;
}

/** The bytes of a stream in OpenAI's form, one event for each token. */
export function eventStream(tokens: readonly string[], options: EventStreamOptions = {}): Uint8Array {
  const { id = "c1", usage, finishReason = "stop" } = options;
  const event = (choices: unknown, more?: object) =>
    `data: ${JSON.stringify({ id, object: "chat.completion.chunk", created: 1, model: id, choices, ...more })}\n\n`;
  const delta = (fields: object, finish_reason: string | null = null) =>
    event([{ index: 0, delta: fields, finish_reason }]);
  const events = [delta({ role: "assistant", content: "" }), ...tokens.map((content) => delta({ content }))];
  if (finishReason !== null) events.push(delta({}, finishReason));
  if (usage) events.push(event([], { usage }));
  if (finishReason !== null) events.push("data: [DONE]\n\n");
  return new TextEncoder().encode(events.join(""));
}

/** What an engine still has to say of `tokens` after `text`, in the same tokens as far as they are whole. */
export function restOf(tokens: readonly string[], text: string): string[] {
  let at = 0;
  const rest: string[] = [];
  for (const token of tokens) {
    const end = at + token.length;
    if (end > text.length) rest.push(token.slice(Math.max(0, text.length - at)));
    at = end;
  }
  return rest;
}

/** Cuts bytes into pieces of this many. */
export function inPieces(bytes: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}
