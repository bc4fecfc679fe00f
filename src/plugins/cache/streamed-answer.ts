import type { Chunk, Operation, Reply } from "../../protocol/operations.js";

type Fields = Record<string, unknown>;

/** Choices, and tool calls of one choice (S30). */
const MAX_PARTS = 128;

interface CollectedCall {
  readonly fields: Fields;
  name: string | undefined;
  readonly payload: string[];
}

interface CollectedChoice {
  readonly text: string[];
  readonly refusal: string[];
  readonly reasoning: string[];
  readonly annotations: unknown[];
  readonly calls: Map<number, CollectedCall>;
  functionCall: { name: string; readonly payload: string[] } | undefined;
  logprobs: Map<string, unknown[]> | undefined;
  finishReason: unknown;
  /** What providers add. */
  others: Fields;
}

/**
 * The reply that the chunks of a stream add up to, so that its replay says the same. Where that cannot be known, there is
 * none: a chunk has fields whose pieces nobody here can put together, or the whole is too large.
 */
export class StreamedAnswer {
  readonly #operation: Operation;
  readonly #maxLength: number;
  readonly #choices = new Map<number, CollectedChoice>();
  #head: Fields = {};
  #usage: unknown;
  #length = 0;
  #isKept = true;

  /** @param maxLength - In UTF-16 units, of all that is kept. */
  constructor(operation: Operation, maxLength: number) {
    this.#operation = operation;
    this.#maxLength = maxLength;
  }

  /** Never throws. Keeps nothing of the chunk itself: whoever gets it next may change it. */
  add(chunk: Chunk): void {
    if (!this.#isKept) return;
    try {
      if (!this.#addChunk(chunk as unknown as Fields) || this.#length > this.#maxLength) this.#giveUp(); // fields by name
    } catch {
      this.#giveUp();
    }
  }

  /** @returns `undefined`: the stream is no whole answer, or none that can be kept. */
  reply(): Reply | undefined {
    if (!this.#isKept || this.#choices.size === 0) return undefined;
    const choices: Fields[] = [];
    for (const [index, choice] of [...this.#choices].sort(([left], [right]) => left - right)) {
      if (typeof choice.finishReason !== "string") return undefined;
      choices.push(this.#operation === "completions" ? textChoice(index, choice) : chatChoice(index, choice));
    }
    const object = this.#operation === "completions" ? "text_completion" : "chat.completion";
    const usage = this.#usage === undefined ? undefined : { usage: this.#usage };
    // What it lacks of a reply, `isWholeAnswer` finds.
    return { ...this.#head, object, choices, ...usage } as unknown as Reply;
  }

  get hasUsage(): boolean {
    return this.#usage !== undefined;
  }

  #giveUp(): void {
    this.#isKept = false;
    this.#choices.clear();
    this.#head = {};
  }

  /** @returns false: it cannot be kept. */
  #addChunk({ choices, usage, object: _, obfuscation: __, ...head }: Fields): boolean {
    for (const [name, value] of Object.entries(head)) {
      if (value === undefined || value === null) continue;
      // The first chunk names the answer; of what providers add, the last word counts.
      if ((name === "id" || name === "created" || name === "model") && this.#head[name] !== undefined) continue;
      this.#set(this.#head, name, value);
    }
    if (usage !== undefined && usage !== null) this.#usage = this.#copy(usage);
    return Array.isArray(choices) && choices.every((choice) => isRecord(choice) && this.#addChoice(choice));
  }

  #addChoice({ index, delta, text, finish_reason: finishReason, logprobs, ...others }: Fields): boolean {
    const choice = typeof index === "number" ? this.#choiceAt(index) : undefined;
    if (!choice) return false;
    for (const [name, value] of Object.entries(others)) {
      if (value !== undefined && value !== null) this.#set(choice.others, name, value);
    }
    if (finishReason) choice.finishReason = finishReason;
    if (isRecord(logprobs)) this.#addLogprobs(choice, logprobs);
    if (this.#operation === "completions") return this.#push(choice.text, text);
    return isRecord(delta) && this.#addDelta(choice, delta);
  }

  #addDelta(choice: CollectedChoice, delta: Fields): boolean {
    return Object.entries(delta).every(([name, value]) => {
      if (value === undefined || value === null) return true;
      switch (name) {
        case "role":
          return value === "assistant";
        case "content":
          return this.#push(choice.text, value);
        case "refusal":
          return this.#push(choice.refusal, value);
        case "reasoning_content":
          return this.#push(choice.reasoning, value);
        case "tool_calls":
          return Array.isArray(value) && value.every((call) => isRecord(call) && this.#addCall(choice, call));
        case "function_call":
          return isRecord(value) && this.#addFunctionCall(choice, value);
        case "annotations":
          if (!Array.isArray(value)) return false;
          choice.annotations.push(...(this.#copy(value) as unknown[])); // a copy of an array
          return true;
        default:
          // Speech, signed reasoning and whatever comes next: nobody knows how its pieces go together.
          return Array.isArray(value) && value.length === 0;
      }
    });
  }

  #addCall(choice: CollectedChoice, { index, function: called, custom, ...fields }: Fields): boolean {
    if (typeof index !== "number" || !Number.isSafeInteger(index)) return false;
    let call = choice.calls.get(index);
    if (!call) {
      if (choice.calls.size >= MAX_PARTS) return false;
      call = { fields: {}, name: undefined, payload: [] };
      choice.calls.set(index, call);
    }
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined && value !== null && value !== "") this.#set(call.fields, name, value);
    }
    if (isRecord(custom)) {
      call.fields.type = "custom";
      if (custom.name) call.name = String(custom.name);
      return this.#push(call.payload, custom.input);
    }
    if (!isRecord(called)) return true;
    if (called.name) call.name = String(called.name);
    return this.#push(call.payload, called.arguments);
  }

  #addFunctionCall(choice: CollectedChoice, { name, arguments: payload }: Fields): boolean {
    choice.functionCall ??= { name: "", payload: [] };
    if (typeof name === "string" && name !== "") choice.functionCall.name = name;
    return this.#push(choice.functionCall.payload, payload);
  }

  #addLogprobs(choice: CollectedChoice, logprobs: Fields): void {
    choice.logprobs ??= new Map();
    for (const [name, list] of Object.entries(logprobs)) {
      if (!Array.isArray(list)) continue;
      const known = choice.logprobs.get(name);
      const copy = this.#copy(list) as unknown[]; // a copy of an array
      if (known) known.push(...copy);
      else choice.logprobs.set(name, copy);
    }
  }

  #choiceAt(index: number): CollectedChoice | undefined {
    const known = this.#choices.get(index);
    if (known || this.#choices.size >= MAX_PARTS) return known;
    const made: CollectedChoice = {
      text: [],
      refusal: [],
      reasoning: [],
      annotations: [],
      calls: new Map(),
      functionCall: undefined,
      logprobs: undefined,
      finishReason: undefined,
      others: {},
    };
    this.#choices.set(index, made);
    return made;
  }

  /** @returns false: it is no text. */
  #push(pieces: string[], piece: unknown): boolean {
    if (piece === undefined || piece === null) return true;
    if (typeof piece !== "string") return false;
    if (piece === "") return true;
    // One unit more per piece: a long stream of short ones is held in memory, too.
    this.#length += piece.length + 1;
    pieces.push(piece);
    return true;
  }

  #set(fields: Fields, name: string, value: unknown): void {
    // Assigning would set the prototype instead of a field (S29).
    if (name === "__proto__") return;
    fields[name] = typeof value === "object" || fields[name] === undefined ? this.#copy(value) : value;
  }

  #copy(value: unknown): unknown {
    const text = JSON.stringify(value);
    this.#length += text.length;
    return JSON.parse(text);
  }
}

function textChoice(index: number, { text, finishReason, logprobs, others }: CollectedChoice): Fields {
  return {
    ...others,
    index,
    text: text.join(""),
    finish_reason: finishReason,
    logprobs: logprobs ? Object.fromEntries(logprobs) : null,
  };
}

function chatChoice(index: number, choice: CollectedChoice): Fields {
  const { reasoning, annotations, calls, functionCall } = choice;
  const text = choice.text.join("");
  const refusal = choice.refusal.join("");
  const saysOther = calls.size > 0 || functionCall !== undefined || refusal !== "";
  const message: Fields = {
    role: "assistant",
    content: text === "" && saysOther ? null : text,
    refusal: refusal === "" ? null : refusal,
  };
  if (reasoning.length > 0) message.reasoning_content = reasoning.join("");
  if (annotations.length > 0) message.annotations = annotations;
  if (functionCall) message.function_call = { name: functionCall.name, arguments: functionCall.payload.join("") };
  if (calls.size > 0) message.tool_calls = [...calls].sort(([left], [right]) => left - right).map(toolCall);
  const logprobs = choice.logprobs && { content: null, refusal: null, ...Object.fromEntries(choice.logprobs) };
  return { ...choice.others, index, message, finish_reason: choice.finishReason, logprobs: logprobs ?? null };
}

function toolCall([, { fields, name = "", payload }]: [number, CollectedCall]): Fields {
  const said = payload.join("");
  return fields.type === "custom"
    ? { ...fields, custom: { name, input: said } }
    : { type: "function", ...fields, function: { name, arguments: said } };
}

function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
