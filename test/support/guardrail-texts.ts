import fc from "fast-check";
import { KEY_FORMATS } from "../../src/plugins/guardrails/secrets/formats.js";

/** Joined without separators these would be other words: they are made at run time, so that no scanner of secrets minds. */
const key = (...parts: readonly string[]) => parts.join("");
const filler = (length: number) => "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW0xY".repeat(8).slice(0, length);

/** One credential of each format, by category. None is real. */
export const SECRETS: Readonly<Record<string, string>> = {
  "aws-access-key": key("AKIA", "IOSFODNN7EXAMPLE"),
  "github-token": key("ghp", "_", filler(36)),
  "gitlab-token": key("glpat", "-", filler(20)),
  "slack-token": key("xoxb", "-123456789012-", filler(24)),
  "slack-webhook": key("hooks.slack", ".com/services/T00000000/B00000000/", filler(24)),
  "stripe-key": key("sk", "_live_", filler(24)),
  "anthropic-key": key("sk-ant", "-api03-", filler(40)),
  "openai-key": key("sk-proj", "-", filler(48)),
  "openrouter-key": key("sk-or", "-v1-", "0123456789abcdef".repeat(4)),
  "google-key": key("AIza", filler(35)),
  "google-token": key("ya29", ".", filler(60)),
  "groq-key": key("gsk", "_", filler(52)),
  "xai-key": key("xai", "-", filler(80)),
  "huggingface-token": key("hf", "_", "abcdefghijklmnopqrstuvwxyzABCDEFGH"),
  "replicate-token": key("r8", "_", filler(37)),
  "databricks-token": key("dapi", "0123456789abcdef".repeat(2)),
  "npm-token": key("npm", "_", filler(36)),
  "pypi-token": key("pypi", "-AgEIcHlwaS5vcmc", filler(60)),
  "sendgrid-key": key("SG", ".", filler(22), ".", filler(43)),
  "twilio-key": key("SK", "0123456789abcdef".repeat(2)),
  "digitalocean-token": key("dop", "_v1_", "0123456789abcdef".repeat(4)),
  "telegram-token": key("123456789", ":AA", filler(33)),
  "azure-key": key("AccountKey", "=", filler(86), "=="),
  jwt: key("eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.", filler(43)),
  "url-password": key("postgres", "://admin:", "hunter2", "@"),
  "private-key": key(
    "-----BEGIN RSA PRIVATE",
    " KEY-----\n",
    `${filler(64)}\n`.repeat(3),
    "-----END RSA PRIVATE",
    " KEY-----",
  ),
};
if (KEY_FORMATS.some(({ category }) => !(category in SECRETS))) throw new Error("a format has no sample");

export const PERSONAL = [
  "alice@example.com",
  "bob.smith+x@mail.example.co.uk",
  "+1 (415) 555-2671",
  "4242 4242 4242 4242",
  "378282246310005",
  "DE89 3704 0044 0532 0130 00",
  "192.168.0.1",
  "2001:db8::8a2e:370:7334",
  "536-90-4399",
  "12345678Z",
  "RSSMRA85T10A562S",
];

/** Text made of what scanners care about: halves of matches, separators, escapes, other scripts. */
const noise = fc.oneof(
  fc.string({ unit: "binary", maxLength: 6 }),
  fc.string({ unit: fc.constantFrom(...'ab@.:-+0123456789 "\\/{}[]<>,\n_=e\u00e9\u200b联😀'), maxLength: 24 }),
  fc.constantFrom(
    "alice@",
    "@example.com",
    "sk-",
    "4242 4242",
    "-----BEGIN ",
    "+49 ",
    "DE89",
    "12:30:45",
    "\\u0040",
    "\\n",
  ),
);

/** Noise with whole matches in it. `planted` are the matches that stand apart from what is around them. */
export function textWith(matches: readonly string[]): fc.Arbitrary<{ text: string; planted: string[] }> {
  const piece = fc.oneof(
    { weight: 3, arbitrary: noise.map((text) => ({ text, planted: "" })) },
    { weight: 2, arbitrary: fc.constantFrom(...matches).map((text) => ({ text: ` ${text} `, planted: text })) },
    { weight: 1, arbitrary: fc.constantFrom(...matches).map((text) => ({ text, planted: "" })) },
  );
  return fc.array(piece, { maxLength: 8 }).map((pieces) => ({
    text: pieces.map(({ text }) => text).join(""),
    planted: pieces.flatMap(({ planted }) => (planted === "" ? [] : [planted])),
  }));
}

/** Where a text is cut: pieces of 1 to 12 code units, often single ones, surrogates and escapes included. */
export const cuts = fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 12 })), {
  minLength: 1,
  maxLength: 60,
});

export function cut(text: string, lengths: readonly number[]): string[] {
  const pieces: string[] = [];
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1;
    pieces.push(text.slice(at, at + length));
    at += length;
  }
  return pieces;
}
