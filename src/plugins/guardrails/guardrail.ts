import { type RouterError, routerError } from "../../errors/router-error.js";
import type { Chunk, Reply } from "../../protocol/operations.js";
import type { Plugin, PluginRequest, RequestPatch } from "../plugin.js";
import { HeldChunks } from "./held-chunks.js";
import { HeldLength, MAX_HELD_LENGTH } from "./held-length.js";
import { type Inspected, type Inspection, type InspectionContext, inspectTexts, isPromise } from "./inspection.js";
import type { GuardrailSettings } from "./options.js";
import { policyVersionOf } from "./policy-version.js";
import { filterStream, StreamPipeline } from "./reply-stream.js";
import type { StreamedText, StreamHandler } from "./stream-handler.js";
import { StreamTexts } from "./stream-texts.js";
import { JsonMasker, type TextFilter, TextMasker } from "./text-filter.js";
import {
  type CollectedTexts,
  type InspectedText,
  replaceReplyTexts,
  replaceRequestTexts,
  replyTexts,
  requestTexts,
  type Unreadable,
  withoutLogprobs,
  withoutSpeech,
} from "./texts.js";
import { Restorer, Vault } from "./vault.js";
import { type GuardrailAction, Tally, VerdictRecorder } from "./verdict.js";
import { WholeFilter, WindowFilter } from "./window-filter.js";

/** Everything that makes a guardrail what it is. */
export interface GuardrailSpec {
  readonly settings: GuardrailSettings;
  readonly inspection: Inspection;
  /** What the inspection goes by, as plain data: with the settings it makes the policy version. */
  readonly policy: unknown;
  /** What is masked in a request comes back in its answer. */
  readonly isReversible?: boolean | undefined;
  /** It looks at the form of an answer, of which tokens say nothing: they stay. */
  readonly readsForm?: boolean | undefined;
}

/** Most checks at once that nobody waits for; further ones are left out. */
const MAX_LOOSE_CHECKS = 100;

/** What a guardrail keeps of a request between its hooks. */
interface RequestState {
  vault?: Vault;
  /** Rejects with the refusal, or with what broke the check. */
  gate?: Promise<void>;
}

/** Makes a plugin of an inspection: its hooks are those that its modes need. */
export function buildGuardrail(spec: GuardrailSpec): Plugin {
  const { settings, isReversible } = spec;
  const runner = new GuardrailRunner(spec);
  const { looksAt, failure, name, timeoutMs } = settings;
  const looksAtRequests = looksAt.has("input") || looksAt.has("parallel");
  const gates = looksAt.has("parallel") && !settings.isLogOnly && settings.action === "block";
  const looksAtReplies = looksAt.has("whole") || looksAt.has("stream");
  const hasWhole = looksAt.has("whole") || gates || (isReversible && looksAtRequests);
  const hasStream = looksAt.has("stream") || gates || (isReversible && looksAtRequests);
  return {
    name,
    // Who only watches harms nobody when it breaks.
    failure: settings.isLogOnly ? "open" : failure,
    policyVersion: runner.policyVersion,
    ...(timeoutMs === undefined ? undefined : { timeoutMs }),
    ...(looksAtRequests || looksAtReplies ? { beforeRequest: (request) => runner.beforeRequest(request) } : undefined),
    ...(hasWhole ? { afterReply: (reply, request) => runner.afterReply(reply, request) } : undefined),
    ...(hasStream ? { transformStream: (chunks, request) => runner.transformStream(chunks, request) } : undefined),
  };
}

class GuardrailRunner {
  readonly policyVersion: string;
  readonly #settings: GuardrailSettings;
  readonly #inspection: Inspection;
  readonly #isReversible: boolean;
  readonly #readsForm: boolean;
  readonly #recorder: VerdictRecorder;
  readonly #states = new WeakMap<object, RequestState>();
  #looseChecks = 0;

  constructor({ settings, inspection, policy, isReversible = false, readsForm = false }: GuardrailSpec) {
    const { name, looksAt, isLogOnly, action, failure, placeholderOf, passes, onVerdict } = settings;
    this.policyVersion = policyVersionOf({
      name,
      looksAt: [...looksAt].sort(),
      isLogOnly,
      action,
      failure,
      placeholder: placeholderOf("x"),
      passes: [...passes].sort(),
      isReversible,
      policy,
    });
    this.#settings = settings;
    this.#inspection = inspection;
    this.#isReversible = isReversible;
    this.#readsForm = readsForm;
    this.#recorder = new VerdictRecorder(name, this.policyVersion, onVerdict);
  }

  beforeRequest(request: PluginRequest): RequestPatch | undefined | Promise<RequestPatch | undefined> {
    this.#refuseSpeech(request);
    this.#refuseWhole(request);
    const { looksAt, isLogOnly, action } = this.#settings;
    if (!looksAt.has("input") && !looksAt.has("parallel")) return undefined;
    const collected = requestTexts(request.operation, request.body);
    const unread = this.#refuseUnread(collected, request);
    const context = contextOf(request, "request");
    const isLoose = isLogOnly || (looksAt.has("parallel") && action === "flag");
    if (isLoose && this.#looseChecks >= MAX_LOOSE_CHECKS) return undefined;
    const inspected = inspectTexts(this.#inspection, collected.texts, context);
    // What is known at once need not wait for the answer.
    if (!isPromise(inspected)) return this.#actOnRequest(inspected, collected.texts, unread, request);
    const acted = inspected.then((done) => this.#actOnRequest(done, collected.texts, unread, request));
    if (isLoose) {
      this.#leaveAlone(acted);
      return undefined;
    }
    if (!looksAt.has("parallel")) return acted;
    const gate = acted.then(() => {});
    // Nobody comes to the gate where the upstream fails first (R8).
    gate.catch(() => {});
    this.#stateOf(request).gate = gate;
    return undefined;
  }

  afterReply(reply: Reply, request: PluginRequest): Reply | undefined | Promise<Reply | undefined> {
    const gate = this.#states.get(request.identity)?.gate;
    return gate ? this.#behindGate(gate, reply, request) : this.#guardReply(reply, request);
  }

  transformStream(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncIterable<Chunk> {
    const { looksAt, isLogOnly, action } = this.#settings;
    const state = this.#states.get(request.identity);
    let result = chunks;
    if (looksAt.has("stream")) {
      result =
        isLogOnly || action === "flag"
          ? this.#observed(result, request)
          : this.#inspection.kind === "check" && this.#inspection.stream === "buffer"
            ? this.#buffered(result, request)
            : this.#filtered(result, request);
    }
    const { gate, vault } = state ?? {};
    if (vault && !vault.isEmpty) result = filterStream(request.operation, result, restoringHandler(vault, request));
    return gate ? gated(gate, result) : result;
  }

  async #behindGate(gate: Promise<void>, reply: Reply, request: PluginRequest) {
    await gate;
    return this.#guardReply(reply, request);
  }

  #guardReply(reply: Reply, request: PluginRequest): Reply | undefined | Promise<Reply | undefined> {
    const { looksAt, isLogOnly } = this.#settings;
    if (!looksAt.has("whole")) return this.#restored(reply, request);
    const texts = formatted(replyTexts(request.operation, reply).texts, request);
    if (isLogOnly && this.#looseChecks >= MAX_LOOSE_CHECKS) return this.#restored(reply, request);
    const inspected = inspectTexts(this.#inspection, texts, contextOf(request, "reply"));
    if (!isPromise(inspected)) return this.#actOnReply(inspected, reply, request);
    const acted = inspected.then((done) => this.#actOnReply(done, reply, request));
    if (!isLogOnly) return acted;
    this.#leaveAlone(acted);
    return this.#restored(reply, request);
  }

  #actOnRequest(
    inspected: Inspected,
    texts: readonly InspectedText[],
    unread: readonly Unreadable[],
    request: PluginRequest,
  ): RequestPatch | undefined {
    const { name, action, isLogOnly } = this.#settings;
    const tally = tallyOf(inspected);
    this.#recorder.record(request, { side: "request", action, tally, unread });
    if (tally.isEmpty || isLogOnly) return undefined;
    if (action === "block") throw this.#refusal("request", tally, request);
    if (action === "flag") {
      const counts = tally.findings.map(({ category, count }) => `${category}:${count}`).join();
      return { metadata: { [`guardrail.${name}`.slice(0, 64)]: counts.slice(0, 512) } };
    }
    const vault = this.#isReversible ? new Vault(texts.map(({ text }) => text)) : undefined;
    if (vault) this.#stateOf(request).vault = vault;
    const masked = inspected.masked(
      (category, original) => vault?.placeholderFor(original, category) ?? this.#settings.placeholderOf(category),
    );
    return { body: replaceRequestTexts(request.operation, request.body, masked) };
  }

  #actOnReply(inspected: Inspected, reply: Reply, request: PluginRequest): Reply | undefined {
    const { isLogOnly, placeholderOf } = this.#settings;
    const action = this.#actionOnReply(inspected);
    const tally = tallyOf(inspected);
    this.#recorder.record(request, { side: "reply", action, tally, unread: [] });
    if (isLogOnly || action === "flag") return this.#restored(reply, request);
    // What nobody has read is not delivered, whatever the text beside it says.
    if (tally.isEmpty) return this.#restored(this.#readsForm ? reply : withoutLogprobs(reply), request);
    if (action === "block") throw this.#refusal("reply", tally, request);
    const masked = replaceReplyTexts(request.operation, reply, inspected.masked(placeholderOf));
    return this.#restored(withoutSpeech(withoutLogprobs(masked)), request);
  }

  /** @returns `undefined` if there is nothing to put back and the reply is the one that came. */
  #restored(reply: Reply, request: PluginRequest): Reply | undefined {
    const vault = this.#states.get(request.identity)?.vault;
    if (!vault || vault.isEmpty) return reply;
    const replacements = new Map<number, string>();
    for (const [place, { text, format, path }] of formatted(
      replyTexts(request.operation, reply).texts,
      request,
    ).entries()) {
      if (isSigned(path)) continue;
      const restored = vault.restore(text, format === "json" ? "json" : "text");
      if (restored !== text) replacements.set(place, restored);
    }
    return replacements.size === 0 ? reply : replaceReplyTexts(request.operation, reply, replacements);
  }

  /** Checks every text as it comes and delivers what is certain. */
  async *#filtered(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncGenerator<Chunk, void, undefined> {
    const { action, placeholderOf } = this.#settings;
    const tally = new Tally();
    const onMatch = (category: string) => {
      tally.add(category);
      if (action === "block") throw this.#refusal("reply", tally, request);
    };
    const maskWhole = async (texts: readonly InspectedText[]) => {
      const inspected = await inspectTexts(this.#inspection, texts, contextOf(request, "reply"));
      for (const { category } of inspected.findings) onMatch(category);
      return inspected.masked(placeholderOf);
    };
    const { isHolding, filterFor } = this.#maskingFilters(request, maskWhole, onMatch);
    try {
      yield* filterStream(request.operation, chunks, { filterFor, inspect: maskWhole, isHolding });
    } finally {
      this.#recorder.record(request, { side: "reply", action, tally, unread: [] });
    }
  }

  #maskingFilters(
    request: PluginRequest,
    maskWhole: (texts: readonly InspectedText[]) => Promise<ReadonlyMap<number, string>>,
    onMatch: (category: string) => void,
  ): Pick<StreamHandler, "filterFor" | "isHolding"> {
    const inspection = this.#inspection;
    const { placeholderOf } = this.#settings;
    if (inspection.kind === "scan") {
      return {
        isHolding: true,
        filterFor: (place) =>
          isJson(place, request)
            ? new JsonMasker(inspection.scanners, placeholderOf, onMatch)
            : new TextMasker(inspection.scanners, placeholderOf, onMatch),
      };
    }
    return {
      isHolding: true,
      filterFor(place) {
        const check = async (text: string) =>
          (await maskWhole(formatted([{ ...place, text }], request))).get(0) ?? text;
        // JSON has no sentences, and half of it cannot be masked.
        return isJson(place, request) ? new WholeFilter(MAX_HELD_LENGTH, check) : new WindowFilter(check);
      },
    };
  }

  /** Holds the whole stream, checks it in one go, and delivers it then. */
  async *#buffered(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncGenerator<Chunk, void, undefined> {
    const { placeholderOf } = this.#settings;
    const held = new HeldChunks(new HeldLength(), this.#readsForm);
    // Texts and lists are those of the chunks, which are counted: this bounds what is read of them once more.
    const collecting = new StreamTexts(new HeldLength(2 * MAX_HELD_LENGTH));
    const read = filterStream(
      request.operation,
      keeping(chunks, held),
      collecting,
      new HeldLength(2 * MAX_HELD_LENGTH),
    );
    for await (const _ of read) {
      // Read for its texts only.
    }
    const inspected = await inspectTexts(
      this.#inspection,
      formatted(collecting.texts, request),
      contextOf(request, "reply"),
    );
    const action = this.#actionOnReply(inspected);
    const tally = tallyOf(inspected);
    this.#recorder.record(request, { side: "reply", action, tally, unread: [] });
    if (tally.isEmpty) yield* held;
    else if (action === "block") throw this.#refusal("reply", tally, request);
    else {
      const masking = collecting.replacing(inspected.masked(placeholderOf));
      yield* filterStream(request.operation, iterate(held), masking, new HeldLength(2 * MAX_HELD_LENGTH));
    }
  }

  /** Delivers everything as it is, and looks at it on the way or, where a check must wait, at the end. */
  async *#observed(chunks: AsyncIterable<Chunk>, request: PluginRequest): AsyncGenerator<Chunk, void, undefined> {
    const held = new HeldLength();
    const collecting = new StreamTexts(held, true);
    const pipeline = new StreamPipeline(request.operation, collecting, held);
    const unread: "excess"[] = [];
    try {
      for await (const chunk of chunks) {
        if (unread.length === 0) {
          try {
            await pipeline.take(chunk);
          } catch {
            unread.push("excess");
          }
        }
        yield chunk;
      }
    } finally {
      const { action } = this.#settings;
      const record = async () => {
        const inspected = await inspectTexts(
          this.#inspection,
          formatted(collecting.texts, request),
          contextOf(request, "reply"),
        );
        this.#recorder.record(request, { side: "reply", action, tally: tallyOf(inspected), unread });
      };
      if (this.#looseChecks < MAX_LOOSE_CHECKS) this.#leaveAlone(record());
    }
  }

  /** What has been mended is delivered in place of what would be blocked. */
  #actionOnReply({ isMended }: Inspected): GuardrailAction {
    const { action } = this.#settings;
    return action === "block" && isMended ? "mask" : action;
  }

  /** Nobody waits for it, and nobody is harmed by it. */
  #leaveAlone(work: Promise<unknown>): void {
    this.#looseChecks++;
    const done = () => {
      this.#looseChecks--;
    };
    work.then(done, done);
  }

  #refusal(side: "request" | "reply", tally: Tally, { id }: PluginRequest): RouterError {
    const message = `The ${side} was blocked by the guardrail ${JSON.stringify(this.#settings.name)}: ${tally.categories.join(", ")}.`;
    return routerError("content_policy_violation", { message, requestId: id });
  }

  /** @returns what is let through unread. @throws {RouterError} `invalid_request`: it must not be (S41). */
  #refuseUnread({ unread }: CollectedTexts, request: PluginRequest): Unreadable[] {
    const { name, passes } = this.#settings;
    for (const [kind, path] of unread) {
      if (passes.has(kind)) continue;
      const message = `The guardrail ${JSON.stringify(name)} cannot read ${UNREADABLE[kind]}.`;
      throw routerError("invalid_request", { message, param: path, requestId: request.id });
    }
    return [...unread.keys()];
  }

  /**
   * Whoever inspects streams only refuses whole replies (S41). The runner does that for plugins without `afterReply`;
   * others have it for something else than to inspect.
   */
  #refuseWhole({ isStreaming, operation, id: requestId }: PluginRequest): void {
    const { name, looksAt, isLogOnly, failure } = this.#settings;
    if (isStreaming || operation === "embeddings" || !looksAt.has("stream") || looksAt.has("whole")) return;
    if (isLogOnly || failure === "open") return;
    const message = `Refused: the guardrail ${JSON.stringify(name)} inspects streams, and this reply would be whole.`;
    throw routerError("invalid_request", { message, param: "stream", requestId });
  }

  /** A voice cannot be held back by what it says, word by word. */
  #refuseSpeech(request: PluginRequest): void {
    const { name, looksAt, isLogOnly, action, passes } = this.#settings;
    if (!request.isStreaming || !looksAt.has("stream") || isLogOnly || action === "flag") return;
    if (passes.has("speech") || !("modalities" in request.body)) return;
    if (!request.body.modalities?.includes("audio")) return;
    const message = `The guardrail ${JSON.stringify(name)} cannot inspect spoken answers in streams.`;
    throw routerError("invalid_request", { message, param: "modalities", requestId: request.id });
  }

  #stateOf({ identity }: PluginRequest): RequestState {
    let state = this.#states.get(identity);
    if (!state) this.#states.set(identity, (state = {}));
    return state;
  }
}

const UNREADABLE: Readonly<Record<Unreadable, string>> = {
  tokens: "token ids: send text instead",
  file: "this file: it is no text",
  image: "images",
  audio: "audio",
  speech: "spoken answers",
};

function contextOf(request: PluginRequest, side: "request" | "reply"): InspectionContext {
  return {
    request,
    side,
    // Making a signal costs something, and most checks need none.
    get signal() {
      return request.signal;
    },
  };
}

function tallyOf({ findings }: Inspected): Tally {
  const tally = new Tally();
  for (const { category } of findings) tally.add(category);
  return tally;
}

/** Whether the text is JSON: arguments of tool calls, and answers where the request wants JSON. */
function isJson({ path, format }: StreamedText, { body }: PluginRequest): boolean {
  if (format === "json") return true;
  if (!path.endsWith(".message.content") || !("response_format" in body)) return false;
  return body.response_format?.type === "json_object" || body.response_format?.type === "json_schema";
}

function formatted(texts: readonly InspectedText[], request: PluginRequest): readonly InspectedText[] {
  return texts.map((text) => (isJson(text, request) && text.format !== "json" ? { ...text, format: "json" } : text));
}

/** Signed or encrypted thinking goes back to its provider unchanged: what was masked stays masked. */
function isSigned(path: string): boolean {
  return path.includes("reasoning_details") || path.includes("thinking_blocks");
}

/** Lets nothing through before the verdict. */
async function* gated(gate: Promise<void>, chunks: AsyncIterable<Chunk>): AsyncGenerator<Chunk, void, undefined> {
  await gate;
  yield* chunks;
}

async function* iterate(chunks: Iterable<Chunk>): AsyncGenerator<Chunk, void, undefined> {
  yield* chunks;
}

async function* keeping(chunks: AsyncIterable<Chunk>, kept: HeldChunks): AsyncGenerator<Chunk, void, undefined> {
  for await (const chunk of chunks) {
    kept.add(chunk);
    yield chunk;
  }
}

function restoringHandler(vault: Vault, request: PluginRequest): StreamHandler {
  return {
    isHolding: false,
    filterFor: (place: StreamedText): TextFilter => new Restorer(vault, isJson(place, request) ? "json" : "text"),
    inspect(texts) {
      const restored = new Map<number, string>();
      for (const [place, { text, format, path }] of texts.entries()) {
        if (!isSigned(path)) restored.set(place, vault.restore(text, format === "json" ? "json" : "text"));
      }
      return restored;
    },
  };
}
