const MAX_BYTES = 1_024;
/** What is looked at: more than is ever shown, since redaction shortens. */
const MAX_INPUT = 8_192;
const REDACTED = "[redacted]";

/** Characters without a width of their own: they hide text, or part a credential so that nobody recognises it. */
const INVISIBLE = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+/g;
/** Line ends and control characters, which could forge lines in a terminal or log. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;

/**
 * Credentials by their looks. Each pattern is linear: bounded gaps, and no two neighbouring parts that can match the
 * same character.
 */
const CREDENTIALS: readonly RegExp[] = [
  /\b(?:Bearer|Basic)\s{1,8}[^\s"',;]{4,}/gi,
  // `sk-…`, also half hidden by the upstream itself: sk-abc***wxyz (S18: no partial masking).
  /\b(?:(?:sk|pk|rk|hf|gsk|xai|gpustack|ghp)[-_]|AIza|AKIA|eyJ)[-_.A-Za-z0-9*…]{6,}/g,
];

/** A long opaque word soon after a word that announces a secret. */
const ANNOUNCED =
  /\b((?:api[-_ ]?|access[-_ ]?|secret[-_ ]?|subscription[-_ ]?)?(?:key|token|secret|password|credential|authorization)s?)\b([^A-Za-z0-9]{1,6}(?:(?:provided|is|was|value|of)\b[^A-Za-z0-9]{1,6}){0,2})([-_+/=.~*…A-Za-z0-9]{16,})/gi;

/**
 * An upstream's text as a caller may read it (S21): at most 1 KiB of UTF-8, one line, without control characters and
 * without anything that looks like a credential.
 *
 * @param secrets - Credentials that are known; each of at least 4 characters is cut out wherever it stands.
 */
export function sanitisedMessage(text: string, secrets: readonly string[] = []): string {
  let message = text.length > MAX_INPUT ? wholeWords(text.slice(0, MAX_INPUT)) : text;
  message = message.replace(INVISIBLE, "").replace(CONTROL, " ");
  for (const secret of secrets) if (secret.length >= 4) message = message.replaceAll(secret, REDACTED);
  for (const pattern of CREDENTIALS) message = message.replace(pattern, REDACTED);
  message = message.replace(ANNOUNCED, (_, word: string, gap: string) => `${word}${gap}${REDACTED}`);
  return atMostBytes(message.trim(), MAX_BYTES);
}

/** Drops the last word: a credential that was cut in two is no longer recognised. */
function wholeWords(text: string): string {
  const end = text.search(/\s\S*$/);
  return end === -1 ? "" : text.slice(0, end);
}

const utf8 = new TextEncoder();

function atMostBytes(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text;
  const { read } = utf8.encodeInto(text, new Uint8Array(maxBytes));
  if (read === text.length) return text;
  const ellipsis = "…";
  const kept = utf8.encodeInto(text, new Uint8Array(maxBytes - 3)).read;
  return text.slice(0, kept) + ellipsis;
}
