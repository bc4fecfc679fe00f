import type { ChatChunk, ChatDelta, FinishReason, ReplyMessage, ToolCallDelta } from "../../protocol/chat.js";
import type { Usage } from "../../protocol/usage.js";
import type { ProviderMetadata, SpecificationVersion } from "../specification.js";
import { sourcesOf } from "./content.js";
import { metadata } from "./metadata.js";
import type { FinishReasonOf, ProducedPart, ProducedToolCall } from "./produced.js";
import { unifiedFinishReason, type VersionWriter } from "./versions.js";

interface OpenCall {
  readonly id: string;
  readonly name: string;
  readonly extraContent: unknown;
  input: string;
}

/** The SDK allows several blocks of text or reasoning; OpenAI's format has one of each, which may be interrupted. */
type BlockKind = "text" | "reasoning";

/** Turns the chunks of one stream into the SDK's parts, choice 0 alone. */
export class StreamParts<V extends SpecificationVersion> {
  readonly #write: VersionWriter<V>;
  #out: ProducedPart<V>[] = [];
  #isBegun = false;
  #block: { readonly kind: BlockKind; readonly id: string } | undefined;
  #blocks = 0;
  #sources = 0;
  readonly #calls = new Map<number, OpenCall>();
  /** Details that the next end of reasoning carries. */
  #details: unknown[] = [];
  #usage: Usage | undefined;
  #finishReason: FinishReason | undefined;
  #hasRefusal = false;

  constructor(write: VersionWriter<V>) {
    this.#write = write;
  }

  /** @returns the parts that the chunk completes. */
  add(chunk: ChatChunk): readonly ProducedPart<V>[] {
    this.#out = [];
    const { id, model, created, choices, usage } = chunk;
    if (!this.#isBegun) {
      this.#isBegun = true;
      this.#out.push({ type: "response-metadata", id, modelId: model, timestamp: new Date(created * 1_000) });
    }
    if (usage) this.#usage = usage;
    for (const { index, delta, finish_reason } of choices) {
      if (index !== 0) continue;
      this.#addDelta(delta, id);
      if (finish_reason) this.#finishReason ??= finish_reason;
    }
    return this.#out;
  }

  /** @returns the parts that end a complete stream. */
  end(providerMetadata: ProviderMetadata): readonly ProducedPart<V>[] {
    this.#out = [];
    this.#closeAll();
    const reason = this.#hasRefusal ? "content-filter" : unifiedFinishReason(this.#finishReason);
    this.#finish(this.#write.finishReason(reason, this.#finishReason), providerMetadata);
    return this.#out;
  }

  /** @returns the parts that end a stream that broke. Tool calls that are not complete are left out. */
  fail(error: unknown, providerMetadata: ProviderMetadata): readonly ProducedPart<V>[] {
    this.#out = [];
    this.#closeBlock();
    this.#out.push({ type: "error", error });
    this.#finish(this.#write.finishReason("error", undefined), providerMetadata);
    return this.#out;
  }

  #addDelta(delta: ChatDelta & Pick<ReplyMessage, "annotations">, id: string): void {
    if (delta.reasoning_details?.length) {
      this.#open("reasoning");
      this.#details.push(...delta.reasoning_details);
    }
    if (delta.reasoning_content) this.#say("reasoning", delta.reasoning_content);
    if (delta.content) this.#say("text", delta.content);
    if (delta.refusal) {
      this.#hasRefusal = true;
      this.#say("text", delta.refusal);
    }
    for (const call of delta.tool_calls ?? []) this.#addCall(call);
    const sources = sourcesOf(delta.annotations, id, this.#sources);
    this.#sources += sources.length;
    this.#out.push(...sources);
  }

  #say(kind: BlockKind, delta: string): void {
    const id = this.#open(kind);
    this.#out.push({ type: `${kind}-delta`, id, delta });
  }

  #open(kind: BlockKind): string {
    if (this.#block?.kind === kind) return this.#block.id;
    this.#closeBlock();
    const id = String(this.#blocks++);
    this.#block = { kind, id };
    this.#out.push({ type: `${kind}-start`, id });
    return id;
  }

  #closeBlock(): void {
    const block = this.#block;
    if (!block) return;
    this.#block = undefined;
    const { kind, id } = block;
    if (kind === "text") this.#out.push({ type: "text-end", id });
    else if (this.#details.length === 0) this.#out.push({ type: "reasoning-end", id });
    else {
      const providerMetadata = metadata("reasoningDetails", this.#details);
      this.#details = [];
      this.#out.push({ type: "reasoning-end", id, providerMetadata });
    }
  }

  #addCall({ index, id, function: named, ...rest }: ToolCallDelta): void {
    let call = this.#calls.get(index);
    if (!call) {
      this.#closeBlock();
      const extraContent = "extra_content" in rest ? rest.extra_content : undefined;
      call = { id: id ?? `call_${index}`, name: named?.name ?? "", extraContent, input: "" };
      this.#calls.set(index, call);
      this.#out.push({ type: "tool-input-start", id: call.id, toolName: call.name });
    }
    const fragment = named?.arguments;
    if (!fragment) return;
    call.input += fragment;
    this.#out.push({ type: "tool-input-delta", id: call.id, delta: fragment });
  }

  #closeAll(): void {
    this.#closeBlock();
    for (const { id, name, extraContent, input } of this.#calls.values()) {
      this.#out.push({ type: "tool-input-end", id });
      const call: ProducedToolCall = { type: "tool-call", toolCallId: id, toolName: name, input: input || "{}" };
      if (extraContent !== undefined) call.providerMetadata = metadata("extraContent", extraContent);
      this.#out.push(call);
    }
  }

  #finish(finishReason: FinishReasonOf<V>, providerMetadata: ProviderMetadata): void {
    this.#out.push({ type: "finish", usage: this.#write.usage(this.#usage), finishReason, providerMetadata });
  }
}
