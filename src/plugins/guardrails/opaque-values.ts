/** What a place is part of: what stands there unread depends on it. */
export type Side = "request" | "reply";

const words = (list: string): ReadonlySet<string> => new Set(list.split(" "));

/** Values that the protocol itself gives, by field. Nothing can be said with them, wherever they stand. */
const VOCABULARY: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  Object.entries({
    type:
      "text image_url input_audio file refusal function custom content tool_result json_schema json_object auto " +
      "allowed_tools grammar ephemeral url_citation file_citation thinking redacted_thinking reasoning.text " +
      "reasoning.summary reasoning.encrypted object array string number integer boolean null",
    role: "system developer user assistant tool function",
    detail: "auto low high",
    object: "chat.completion chat.completion.chunk text_completion list embedding",
    finish_reason: "stop length tool_calls content_filter function_call",
    reasoning_effort: "none minimal low medium high xhigh max",
    service_tier: "auto default flex scale priority standard",
    verbosity: "low medium high",
    encoding_format: "float base64",
    modalities: "text audio",
    // Of Azure's verdicts, which come with each chunk.
    severity: "safe low medium high",
  }).map(([field, list]) => [field, words(list)]),
);

/** Identifiers, and the base64 of signatures, which must stay as they are. */
const NAME = /^[\w.:/+=-]*$/;
/** Nothing signed or encrypted is shorter: what is can be read like any other text. */
const MIN_SEALED_LENGTH = 64;

const IDS =
  /^(?:tool_call_id|audio\.id|tool_calls\[\d+\]\.id|content\[\d+\]\.file\.file_id|annotations\[\d+\]\.\w+\.file_id|(?:reasoning_details|thinking_blocks)\[\d+\]\.(?:id|format))$/;
const SEALED =
  /^(?:(?:reasoning_details|thinking_blocks|content)\[\d+\]\.(?:data|signature|encrypted_content|thought_signature)|(?:tool_calls\[\d+\]\.(?:function\.)?)?(?:extra_content\.google\.|provider_specific_fields\.)?(?:signature|thought_signature|thoughtSignature))$/;
const MESSAGE: Readonly<Record<Side, RegExp>> = {
  request: /^messages\[\d+\]\./,
  reply: /^choices\[\d+\]\.message\./,
};

/**
 * Is this value a word of the protocol, an identifier or something sealed, which nobody reads as words? Identifiers and
 * seals count at their places in a message only: elsewhere a field of the same name holds what its sender likes.
 */
export function isOpaque(text: string, field: string, path: string, side: Side): boolean {
  if (VOCABULARY.get(field)?.has(text)) return true;
  if (side === "reply" && (path === "id" || path === "system_fingerprint")) return NAME.test(text);
  const message = MESSAGE[side].exec(path);
  if (!message) return false;
  const place = path.slice(message[0].length);
  if (IDS.test(place)) return NAME.test(text);
  return text.length >= MIN_SEALED_LENGTH && SEALED.test(place) && NAME.test(text);
}

const SOUND: Readonly<Record<Side, RegExp>> = {
  request: /^messages\[\d+\]\.(?:audio|content\[\d+\]\.input_audio)\.data$/,
  reply: /^choices\[\d+\]\.message\.audio\.data$/,
};

/** May sound stand here? */
export function isSoundPlace(path: string, side: Side): boolean {
  return SOUND[side].test(path);
}

const MEDIA =
  /^messages\[\d+\]\.(?:content|images)\[\d+\]\.(?:image_url|\w+\.(?:url|image_url|file_data)|file_data|url)$/;
const MEDIA_FIELDS: ReadonlySet<string> = new Set(["url", "image_url", "file_data"]);

/** May a picture or a file stand here, as a data URL? Elsewhere a text that begins with `data:` is a text. */
export function isMediaPlace(field: string, path: string, side: Side): boolean {
  return MEDIA_FIELDS.has(field) && (side === "reply" || MEDIA.test(path));
}

const LOGPROBS = /^choices\[\d+\]\.logprobs$/;

/** What repeats the text of a choice as tokens, and is left out where a guard acts. */
export function isTokenPlace(path: string, side: Side): boolean {
  return side === "reply" && LOGPROBS.test(path);
}
