/** You will see: a server with a wire format that nobody knows, asked in OpenAI's format: whole, streamed, and refusing. */
import {
  type AttemptContext,
  type ChatChunk,
  ChatChunks,
  type ChatCompletion,
  type ChatRequest,
  CredentialHeader,
  createLineReader,
  DroppedFields,
  type EncodedRequest,
  errorOfResponse,
  features,
  missingFeature,
  ParameterRules,
  type Provider,
  type ProviderSettings,
  parseBaseUrl,
  parseUpstreamObject,
  Router,
  randomId,
  readLastEvent,
  type StreamDecoder,
  translatedChat,
  type Usage,
  unreachable,
  type WireUpstream,
} from "llm-switchyard";
import { respond, startFakeUpstream } from "llm-switchyard/testing";

// Parley's format: { voice, turns: [{ who, says }], cap, live } → { says, end, cost }, or lines { piece } and { end, cost }.
const parley: Provider = { name: "parley", apiKey: "required", connect };

/** What becomes of each field: the table decides, `write` says what is translated. */
const table = { ...translatedChat, response_format: "refused", tools: "refused", temperature: "dropped" } as const;

function connect({ baseUrl = "http://127.0.0.1:7000", unknownFields }: ProviderSettings): WireUpstream {
  const { origin, host, path } = parseBaseUrl(baseUrl);
  const rules = new ParameterRules(table, unknownFields);
  const credential = new CredentialHeader("x-parley-key");
  const headers = { "content-type": "application/json", "accept-encoding": "identity" };
  return {
    kind: "wire",
    host,
    origin,
    operations: {
      "chat.completions": {
        // Left out and reported; a deployment that has them is asked first.
        drops: features("seed", "logprobs", "logitBias", "penalties", "reasoningEffort"),
        // Cannot be said: such requests never come here.
        rejects: features("tools", "imageUrl", "imageData", "file", "jsonObject", "jsonSchema", "multipleChoices"),
      },
    },
    contentTypes: { whole: ["application/json"], stream: ["application/x-ndjson"] },
    encode(body, context): EncodedRequest {
      const report = new DroppedFields();
      const text = JSON.stringify(write(body as ChatRequest, context, rules, report)); // chat is the only operation
      return { method: "POST", path: `${path}/talk`, headers, body: text, dropped: report.fields };
    },
    authorize: (request, apiKey) => credential.addTo(request, apiKey),
    decodeReply: ({ text }, context) => replyOf(parseUpstreamObject(text, "the body"), context),
    openStream: (context) => new ParleyStream(context),
    decodeError: (response, { clock }) =>
      errorOfResponse(
        { classify: ({ code }) => (code === "tired" ? "overloaded" : undefined) },
        response,
        clock.wallNow(),
      ),
    healthProbe: { method: "GET", path: `${path}/alive`, headers },
  };
}

function write(body: ChatRequest, context: AttemptContext, rules: ParameterRules, report: DroppedFields): object {
  const turns = body.messages.map(({ role, content }) => {
    if (typeof content !== "string") throw missingFeature("this deployment takes texts only", "messages.content");
    return { who: role === "assistant" ? "parley" : "you", says: content };
  });
  const cap = body.max_completion_tokens ?? body.max_tokens ?? undefined;
  return { ...rules.forwarded({ ...body }, report), voice: context.model, turns, cap, live: context.isStreaming };
}

function replyOf(answer: Record<string, unknown>, { model, random, clock }: AttemptContext): ChatCompletion {
  return {
    id: randomId(random, "chatcmpl-"),
    object: "chat.completion",
    created: Math.floor(clock.wallNow() / 1_000),
    model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: String(answer.says ?? ""), refusal: null },
        finish_reason: endOf(answer),
        logprobs: null,
      },
    ],
    usage: usageOf(answer),
  };
}

const endOf = ({ end }: Record<string, unknown>) => (end === "cap" ? "length" : "stop");

function usageOf({ cost }: Record<string, unknown>): Usage {
  const { heard = 0, said = 0 } = (cost ?? {}) as { heard?: number; said?: number };
  return { prompt_tokens: heard, completion_tokens: said, total_tokens: heard + said };
}

/** Gets bytes that may be cut anywhere, and says what happened; `ChatChunks` writes the chunks and keeps the totals. */
class ParleyStream implements StreamDecoder<ChatChunk> {
  isDone = false;
  readonly #chunks: ChatChunks;
  readonly #lines = createLineReader({ maxLineBytes: 1_048_576, onLine: (line) => this.#onLine(line) });

  constructor(context: AttemptContext) {
    this.#chunks = new ChatChunks(context);
  }
  get contentAt(): number | undefined {
    return this.#chunks.contentAt;
  }
  get summary() {
    return this.#chunks.summary;
  }
  push(bytes: Uint8Array, out: ChatChunk[]): void {
    this.#chunks.out = out;
    this.#lines.push(bytes);
  }
  end(out: ChatChunk[]): void {
    this.#chunks.out = out;
    readLastEvent(this.#lines);
    // Half of an answer must not pass for all of it.
    if (!this.isDone) throw unreachable("stream ended before it was complete");
    this.#chunks.end();
  }
  #onLine(text: string): void {
    if (this.isDone) return;
    const line = parseUpstreamObject(text, "a line");
    if (typeof line.piece === "string") this.#chunks.text(0, line.piece);
    if (line.end === undefined) return;
    this.#chunks.summary.usage = usageOf(line);
    this.#chunks.finish(0, endOf(line));
    this.isDone = true;
  }
}

// Stands in for a server of that kind.
const server = await startFakeUpstream();
const cost = { heard: 4, said: 3 };
const lines = [{ piece: "Piece " }, { piece: "by piece." }, { end: "done", cost }].map(
  (line) => `${JSON.stringify(line)}\n`,
);
server.next(
  respond({ body: { says: "I speak Parley.", end: "done", cost } }),
  respond({ headers: { "content-type": "application/x-ndjson" }, body: lines }),
  respond({ status: 503, body: { code: "tired", message: "Ask me later." } }),
);

const router = new Router({
  models: {
    chat: { deployments: [{ provider: parley, model: "alto", baseUrl: server.origin, apiKey: "k" }], retries: 0 },
  },
});
const ask = { model: "chat" as const, messages: [{ role: "user" as const, content: "Who are you?" }] };

const { data, routing } = await router.chat.completions.create({ ...ask, max_tokens: 50, seed: 1 }).withRouting();
console.log(data.choices[0]?.message.content, data.usage, "left out:", routing.dropped);
console.log("on the wire:", server.requests[0]?.text);

for await (const chunk of await router.chat.completions.create({ ...ask, stream: true })) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}
await router.chat.completions.create(ask).catch((error) => console.log(`\n${error.code}: ${error.message}`));

await router.close();
await server.close();
