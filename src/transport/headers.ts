/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;
const NOT_ASCII = /[^\u0020-\u007e]+/g;

/** Headers that belong to one connection, are computed from the message, or must not cross (S42). */
const REFUSED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "cookie",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Carriers of credentials: encoding one would only make a wrong one of it. */
const CREDENTIALS: ReadonlySet<string> = new Set(["authorization", "api-key", "x-api-key", "x-goog-api-key"]);

/** What is wrong with an outbound header, for whoever configured it; never quotes the value (S18). */
export function headerProblem(name: string, value: string): string | undefined {
  if (!TOKEN.test(name)) return `Expected a header name, got ${JSON.stringify(name.slice(0, 64))}`;
  const lowerName = name.toLowerCase();
  if (REFUSED.has(lowerName)) return `The header \`${lowerName}\` is set by the transport or must not be sent`;
  if (CONTROL_CHARACTER.test(value))
    return `The value of the header \`${lowerName}\` has a control character or a line end`;
  if (CREDENTIALS.has(lowerName) && value.search(NOT_ASCII) !== -1) {
    return `The value of the header \`${lowerName}\` has characters outside ASCII`;
  }
  return undefined;
}

/**
 * Headers as they may go to an upstream (S42): names in lower case, values in printable ASCII. Characters outside
 * ASCII are percent-encoded as UTF-8, blanks around a value are dropped.
 *
 * @throws {TypeError} a header may not be sent; the message names it and keeps its value to itself.
 */
export function checkedHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const checked = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    const problem = headerProblem(name, value);
    if (problem !== undefined) throw new TypeError(problem);
    const lowerName = name.toLowerCase();
    if (checked.has(lowerName)) throw new TypeError(`The header \`${lowerName}\` is given twice`);
    checked.set(lowerName, value.replace(NOT_ASCII, percentEncoded).trim());
  }
  // Own properties, whatever the name: assigning `__proto__` would not make one (S29).
  return Object.freeze(Object.fromEntries(checked));
}

const encoder = new TextEncoder();

function percentEncoded(text: string): string {
  let encoded = "";
  for (const byte of encoder.encode(text)) encoded += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  return encoded;
}

/** Headers of a response, from undici's list of names and values; a repeated one is joined with `, `. */
export function responseHeaders(raw: readonly Buffer[]): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (let index = 1; index < raw.length; index += 2) headers.set(nameAt(raw, index - 1), valueAt(raw, index));
  // Hardly ever is one repeated: to look for it each time costs as much as all the rest.
  if (2 * headers.size === raw.length) return headers;
  headers.clear();
  for (let index = 1; index < raw.length; index += 2) addHeader(headers, nameAt(raw, index - 1), valueAt(raw, index));
  return headers;
}

// In range: names and values alternate.
const nameAt = (raw: readonly Buffer[], index: number) => raw[index]!.toString("latin1").toLowerCase();
const valueAt = (raw: readonly Buffer[], index: number) => raw[index]!.toString("latin1");

/** Adds one header of a response; a repeated one is joined with `, `. */
export function addHeader(headers: Map<string, string>, lowerName: string, value: string): void {
  const earlier = headers.get(lowerName);
  headers.set(lowerName, earlier === undefined ? value : `${earlier}, ${value}`);
}
