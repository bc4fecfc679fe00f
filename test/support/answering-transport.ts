import { unreachable } from "../../src/errors/upstream-error.js";
import { deferred } from "../../src/internal/deferred.js";
import type { Exchange, Transport, TransportRequest, TransportResponse } from "../../src/transport/transport.js";

/** What a request meets: an answer, nobody, silence without a connection, or an upstream that takes the request and says nothing. */
export type Answering =
  | { readonly status?: number; readonly text: string; readonly headers?: Readonly<Record<string, string>> }
  | "refused"
  | "silence"
  | "taken";

export interface AnsweringTransport extends Transport {
  /** Every request so far. */
  readonly requests: readonly TransportRequest[];
  /** Paths of requests with `GET`, in order. */
  readonly gets: readonly string[];
  readonly posts: readonly TransportRequest[];
  /** Neither answered nor cancelled. */
  readonly open: number;
}

/** A transport in memory, for virtual time: each request is answered at once by what `answer` says. */
export function answeringTransport(answer: (request: TransportRequest) => Answering): AnsweringTransport {
  const requests: TransportRequest[] = [];
  let open = 0;
  return {
    bufferedBytes: 0,
    requests,
    get gets() {
      return requests.filter(({ method }) => method === "GET").map(({ path }) => path);
    },
    get posts() {
      return requests.filter(({ method }) => method === "POST");
    },
    get open() {
      return open;
    },
    async close() {},
    send(request): Exchange {
      requests.push(request);
      const response = deferred<TransportResponse>();
      response.promise.catch(() => {});
      let isOver = false;
      open++;
      const end = () => {
        if (!isOver) open--;
        isOver = true;
      };
      const met = answer(request);
      if (met === "refused") {
        end();
        response.reject(unreachable("connection refused"));
      } else if (met === "taken") {
        request.onConnected?.();
      } else if (met !== "silence") {
        end();
        request.onConnected?.();
        const { status = 200, text, headers = { "content-type": "application/json" } } = met;
        const bytes = new TextEncoder().encode(text);
        let isRead = false;
        response.resolve({
          status,
          headers: new Map(Object.entries(headers)),
          body: {
            async read() {
              if (isRead) return undefined;
              isRead = true;
              return bytes;
            },
            async text(maxBytes) {
              if (bytes.length > maxBytes) throw unreachable("the body is too large");
              return text;
            },
          },
        });
      }
      return {
        response: response.promise,
        cancel(reason) {
          end();
          response.reject(reason);
        },
      };
    },
  };
}

/** A model list as OpenAI gives it. */
export function modelList(...ids: readonly string[]): string {
  return JSON.stringify({
    object: "list",
    data: ids.map((id) => ({ id, object: "model", created: 7, owned_by: "me" })),
  });
}

/** A whole chat answer. */
export const CHAT_ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
});
