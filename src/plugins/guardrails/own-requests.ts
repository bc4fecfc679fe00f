import { randomId, systemRandom } from "../../internal/random.js";
import type { ChatCompletion, ChatRequest } from "../../protocol/chat.js";
import type { DeploymentRequirement, Plugin, PluginRequest, Principal } from "../plugin.js";

/** What a guardrail that asks a model needs of the router that it is a plugin of. */
export interface AskedRouter {
  readonly chat: {
    readonly completions: {
      create(
        body: ChatRequest & { readonly stream?: false | undefined },
        options: {
          readonly signal: AbortSignal;
          readonly deadlineMs: number;
          readonly tags: readonly string[];
          readonly metadata: Readonly<Record<string, string>>;
          readonly principal?: Principal | undefined;
          readonly require?: DeploymentRequirement | undefined;
          readonly fallbacks?: readonly string[] | undefined;
          readonly cache: false;
        },
      ): PromiseLike<ChatCompletion>;
    };
  };
}

/** The model that a guardrail asked gave no answer that counts. Says nothing of why: that may quote a request (S18). */
export class AskFailedError extends Error {
  override readonly name = "AskFailedError";
}

interface AskOptions {
  readonly signal: AbortSignal;
  readonly principal: Principal | undefined;
  readonly require?: DeploymentRequirement | undefined;
  readonly fallbacks?: readonly string[] | undefined;
  readonly deadlineMs: number;
}

/** Of a request that a guardrail makes: by this its own guardrail knows it. */
const METADATA_KEY = "switchyard.guardrail";

/** Requests that a guardrail makes of its own router, so that it does not guard them itself. */
export class OwnRequests {
  readonly #tag: string;
  /** Of requests under way. Nobody can guess one, so that no caller evades the guardrail by naming it. */
  readonly #marks = new Set<string>();
  #router: AskedRouter | undefined;

  constructor(name: string) {
    this.#tag = `guardrail:${name}`;
  }

  /** @throws {TypeError} it serves a router already, whose groups are the ones that it asks. */
  start(router: AskedRouter): void {
    if (this.#router) {
      throw new TypeError("A guardrail that asks a model belongs to one router: make another one.");
    }
    this.#router = router;
  }

  close(): void {
    this.#router = undefined;
  }

  isOwn({ depth, metadata }: PluginRequest): boolean {
    return depth > 0 && this.#marks.size > 0 && this.#marks.has(metadata[METADATA_KEY] ?? "");
  }

  /**
   * Asks a group once.
   * @param asked - `principal`: who is charged; `undefined`: nobody but the host. `require`, `fallbacks`: where it may go.
   * @returns what the first choice says.
   * @throws {AskFailedError} there is no such answer.
   */
  async ask(
    body: ChatRequest & { readonly stream?: false | undefined },
    { signal, principal, require, fallbacks, deadlineMs }: AskOptions,
  ): Promise<string> {
    const mark = randomId(systemRandom, "own_");
    this.#marks.add(mark);
    try {
      const reply = await this.#router?.chat.completions.create(body, {
        signal,
        deadlineMs,
        tags: [this.#tag],
        metadata: { [METADATA_KEY]: mark },
        ...(principal && { principal }),
        ...(require && { require }),
        ...(fallbacks && { fallbacks }),
        cache: false,
      });
      const choice = reply?.choices[0];
      const { content, tool_calls, refusal } = choice?.message ?? {};
      if (choice?.finish_reason === "stop" && !tool_calls?.length && !refusal && typeof content === "string") {
        return content;
      }
    } catch {
      // Whoever watches requests sees this one fail.
    } finally {
      this.#marks.delete(mark);
    }
    throw new AskFailedError("no answer that counts");
  }

  /** The plugin, which belongs to its router and leaves its own requests alone. */
  guarding(plugin: Plugin): Plugin<AskedRouter> {
    const { beforeRequest, afterReply, transformStream } = plugin;
    // Its own requests are for whole replies. Without `afterReply` they would be refused as those of others are, which
    // `beforeRequest` sees to (S41).
    const refusesWhole = transformStream !== undefined && afterReply === undefined;
    return {
      ...plugin,
      ...(beforeRequest && {
        beforeRequest: (request) => (this.isOwn(request) ? undefined : beforeRequest(request)),
      }),
      ...((afterReply || refusesWhole) && {
        afterReply: (reply, request) => (this.isOwn(request) ? undefined : afterReply?.(reply, request)),
      }),
      ...(transformStream && {
        transformStream: (chunks, request) => (this.isOwn(request) ? chunks : transformStream(chunks, request)),
      }),
      start: (router) => this.start(router),
      close: () => this.close(),
    };
  }
}
