import type { Deployment } from "../deployments/deployment.js";
import type { ChatMessage, ChatRequest } from "../protocol/chat.js";
import type { RequestBody } from "../protocol/operations.js";
import type { SeamOptions } from "../routing/mid-stream/seam.js";

/** White space, which models continue badly and some providers refuse, and the first half of a character. */
const UNSENT_AFTER_PREFILL = /(?:\s|[\uD800-\uDBFF](?![\uDC00-\uDFFF]))+$/;
const UNSENT_BEFORE_PROMPT = /[\uD800-\uDBFF]$/;

/** What a request asks for once its stream has broken: the same, from the text on that was delivered. */
export class Continuation {
  readonly #prompt: string | undefined;
  readonly #messages: readonly ChatMessage[];
  readonly #delivered: string;
  readonly #deliveredTokens: number;

  constructor(body: ChatRequest, delivered: string, deliveredTokens: number, prompt: string | undefined) {
    this.#messages = body.messages;
    this.#delivered = delivered;
    this.#deliveredTokens = deliveredTokens;
    this.#prompt = prompt;
  }

  /** The deployment is given the beginning of its answer, rather than asked for the rest of it. */
  isPrefilledAt(deployment: Deployment): boolean {
    const { sent, isPrompted } = this.seamOf(deployment);
    return !isPrompted && sent !== "";
  }

  /** How its answer is joined to what was delivered. */
  seamOf(deployment: Deployment): SeamOptions {
    const isPrompted = !deployment.takesPrefill && this.#prompt !== undefined;
    const text = this.#delivered;
    const unsent = text.match(isPrompted ? UNSENT_BEFORE_PROMPT : UNSENT_AFTER_PREFILL)?.[0] ?? "";
    return { sent: text.slice(0, text.length - unsent.length), unsent, isPrompted };
  }

  /**
   * What a deployment is asked: the conversation with the unfinished answer at its end, and no more tokens than are left.
   *
   * @param body - The request with the deployment's `defaults`, whose caps are those of the whole answer.
   */
  bodyFor(deployment: Deployment, body: RequestBody): RequestBody {
    return { ...(body as ChatRequest), ...this.#remaining(body), messages: this.#messagesFor(deployment) };
  }

  /** Of nothing but white space there is nothing to go on from: the answer begins anew. */
  #messagesFor(deployment: Deployment): ChatMessage[] {
    const { sent, isPrompted } = this.seamOf(deployment);
    if (sent === "") return [...this.#messages];
    const unfinished: ChatMessage = { role: "assistant", content: sent };
    return isPrompted && this.#prompt !== undefined
      ? [...this.#messages, unfinished, { role: "user", content: this.#prompt }]
      : [...this.#messages, unfinished];
  }

  /** The caps that the body has, without what was delivered. */
  #remaining(body: RequestBody): Partial<ChatRequest> {
    const { max_tokens: legacy, max_completion_tokens: most } = body as ChatRequest; // only streams of chats are continued
    return {
      ...(typeof legacy === "number" && legacy > 0 && { max_tokens: this.remainingTokens(legacy) }),
      ...(typeof most === "number" && most > 0 && { max_completion_tokens: this.remainingTokens(most) }),
    };
  }

  /** At least one: the count of what was delivered may be an estimate, and only the upstream can say how the answer ends. */
  remainingTokens(cap: number): number {
    return Math.max(1, cap - this.#deliveredTokens);
  }
}
