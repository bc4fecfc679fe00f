/**
 * What goes over the wire in every scenario: one request, one whole answer, one stream. The same bytes for every
 * variant.
 */

/** Requests under way at the same time, and connections of the pools and of the load generator. */
export const CONCURRENCY = 64;

const MODEL = "gpt-4o-mini-2024-07-18";

export const SYSTEM_MESSAGE = {
  role: "system" as const,
  content:
    "You are the assistant of a railway operator. Answer in the language of the question, in at most three " +
    "paragraphs, without inventing timetables. If a connection depends on the day of the week, say so. " +
    "Never ask for personal data.",
};
export const USER_MESSAGE = {
  role: "user" as const,
  content:
    "I arrive at the main station at 17:42 on a Friday and need to be at the harbour before 19:00. Which line " +
    "do I take, how often does it run at that time of day, and what happens if I miss the first one?",
};

/** The caller's body; `stream` is added where a stream is asked for. */
export const REQUEST_BODY = {
  // The name of the router's group.
  model: "chat" as const,
  messages: [SYSTEM_MESSAGE, USER_MESSAGE],
  temperature: 0.7,
  max_tokens: 256,
};

export const STREAM_BODY = { ...REQUEST_BODY, stream: true as const };

const WORDS =
  ' the| harbour| line| runs| every| ten| minutes|,| and| on| Fridays| also| at| night|.| express| "S3"|\n\n| then|' +
  " 17|:|52| from| platform| four";

/** Text of the 199 content chunks: English, with characters that JSON escapes and a few that are not Latin-1. */
const CONTENT_PIECES: readonly string[] = Array.from({ length: 199 }, (_, index) =>
  index % 50 === 49 ? " – Zürich" : (WORDS.split("|")[(index * 7) % 25] ?? ""),
);

/** The text that a complete answer has, whole or streamed. */
export const ANSWER_TEXT = CONTENT_PIECES.join("");

const usage = {
  prompt_tokens: 118,
  completion_tokens: 199,
  total_tokens: 317,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: {
    reasoning_tokens: 0,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

/** A whole answer as OpenAI sends it. */
export const COMPLETION_JSON = JSON.stringify({
  id: "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  object: "chat.completion",
  created: 1_741_569_952,
  model: MODEL,
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: ANSWER_TEXT, refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: "stop",
    },
  ],
  usage,
  service_tier: "default",
  system_fingerprint: "fp_44added55e",
});

/**
 * What a chunk carries: `lean` is what every compatible server sends, `full` adds the fields of OpenAI's own. The
 * length matters: a parser's work grows with it, an SDK's overhead per event does not.
 */
export const CHUNK_SHAPES = ["lean", "full"] as const;
export type ChunkShape = (typeof CHUNK_SHAPES)[number];

/**
 * The stream as it is sent where usage is asked for: role, 199 contents, finish, usage, and `usage: null` on all but
 * the last.
 */
export function streamEvents(shape: ChunkShape): readonly string[] {
  const isFull = shape === "full";
  const event = (choices: readonly unknown[], chunkUsage: unknown) => {
    const chunk = {
      id: isFull ? "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT" : "chatcmpl-554",
      object: "chat.completion.chunk",
      created: 1_741_569_952,
      model: isFull ? MODEL : "gpt-4o-mini",
      ...(isFull && { service_tier: "default", system_fingerprint: "fp_44added55e" }),
      choices,
      usage: chunkUsage,
    };
    return `data: ${JSON.stringify(chunk)}\n\n`;
  };
  const choice = (delta: unknown, finishReason: string | null) =>
    event([{ index: 0, delta, ...(isFull && { logprobs: null }), finish_reason: finishReason }], null);
  return [
    choice({ role: "assistant", content: "" }, null),
    ...CONTENT_PIECES.map((content) => choice({ content }, null)),
    choice({}, "stop"),
    event([], usage),
  ];
}

/** Length of the stream, without the end marker. */
export const STREAM_EVENT_COUNT = CONTENT_PIECES.length + 3;
export const STREAM_END = "data: [DONE]\n\n";
