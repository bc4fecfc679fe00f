import { createHash, createHmac } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { Secret } from "../../../../src/internal/secret.js";
import type { AwsCredentials, FixedKeys } from "../../../../src/providers/bedrock/options.js";
import { amzDate, DATE_HEADER, RequestSigner } from "../../../../src/providers/bedrock/signing.js";
import type { EncodedRequest } from "../../../../src/providers/provider.js";
import { WALL_NOW_MS } from "../../../support/attempt-context.js";

const REFERENCE = new URL("../../../../../shared/reference/providers/vectors/bedrock-sigv4.json", import.meta.url);

interface SigningCase {
  readonly description: string;
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly credentials: AwsCredentials;
  readonly region: string;
  readonly time: string;
  readonly canonicalRequest: string;
  readonly stringToSign: string;
  readonly signedHeaders: Readonly<Record<string, string>>;
}

const SECRET = "example-secret-key-for-signing-tests";
const keysOf = ({ accessKeyId, secretAccessKey, sessionToken }: AwsCredentials): FixedKeys => ({
  accessKeyId,
  secretAccessKey: new Secret(secretAccessKey),
  sessionToken: sessionToken === undefined ? undefined : new Secret(sessionToken),
});

/** Signature Version 4 by the letter of its description, from a canonical request. */
function signatureOf(canonicalRequest: string, date: string, region: string, secret = SECRET) {
  const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  const scope = `${date.slice(0, 8)}/${region}/bedrock/aws4_request`;
  const hash = createHash("sha256").update(canonicalRequest).digest("hex");
  const key = [region, "bedrock", "aws4_request"].reduce(hmac, hmac(`AWS4${secret}`, date.slice(0, 8)));
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${hash}`).toString("hex");
  return { scope, signature };
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const aRequest = (more: Partial<EncodedRequest> = {}): EncodedRequest => ({
  method: "POST",
  path: "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
  headers: { "content-type": "application/json", accept: "application/json", [DATE_HEADER]: amzDate(WALL_NOW_MS) },
  body: '{"messages":[]}',
  ...more,
});

describe("signatures", () => {
  it("are over the path encoded twice, the host, the date, the content type and the body", async () => {
    const signer = new RequestSigner(keysOf({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET }), "us-east-1");
    const request = aRequest();
    const signed = await signer.sign(request, "https://bedrock-runtime.us-east-1.amazonaws.com");
    const canonical = [
      "POST",
      "/model/anthropic.claude-3-5-sonnet-20240620-v1%253A0/converse",
      "",
      "content-type:application/json",
      "host:bedrock-runtime.us-east-1.amazonaws.com",
      "x-amz-date:20260101T000000Z",
      "",
      "content-type;host;x-amz-date",
      sha256('{"messages":[]}'),
    ].join("\n");
    const { scope, signature } = signatureOf(canonical, "20260101T000000Z", "us-east-1");
    expect(signed).toEqual({
      ...request,
      headers: {
        ...request.headers,
        authorization: `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/${scope}, SignedHeaders=content-type;host;x-amz-date, Signature=${signature}`,
      },
    });
  });

  it("include the session token, the port, and a query in its order", async () => {
    const keys = keysOf({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET, sessionToken: "token//==" });
    const request = aRequest({
      method: "GET",
      path: "/prefix/foundation-models?b=2&a=%C3%BC%20x",
      headers: { [DATE_HEADER]: "20260102T030405Z" },
      body: undefined,
    });
    const { headers } = await new RequestSigner(keys, "eu-west-1").sign(request, "http://127.0.0.1:8080");
    const canonical = [
      "GET",
      "/prefix/foundation-models",
      "a=%C3%BC%20x&b=2",
      "host:127.0.0.1:8080",
      "x-amz-date:20260102T030405Z",
      "x-amz-security-token:token//==",
      "",
      "host;x-amz-date;x-amz-security-token",
      sha256(""),
    ].join("\n");
    const { signature } = signatureOf(canonical, "20260102T030405Z", "eu-west-1");
    expect(headers.authorization?.endsWith(`Signature=${signature}`)).toBe(true);
    expect(headers["x-amz-security-token"]).toBe("token//==");
    expect(headers).not.toHaveProperty("host");
  });

  const cases = existsSync(REFERENCE)
    ? (JSON.parse(readFileSync(REFERENCE, "utf8")) as { cases: SigningCase[] }).cases
    : [];
  it.each(cases)("are those of the wire reference: $description", async (example) => {
    const { method, url, headers, body, credentials, region, time } = example;
    const { origin, pathname, search } = new URL(url);
    const date = amzDate(Date.parse(time));
    const request = { method, path: pathname + search, headers: { ...headers, [DATE_HEADER]: date }, body };
    const signed = await new RequestSigner(keysOf(credentials), region).sign(request, origin);
    expect(signed.headers).toEqual({ ...headers, ...example.signedHeaders });
    // The oracle of the tests above agrees with the reference.
    const { signature } = signatureOf(example.canonicalRequest, date, region, credentials.secretAccessKey);
    expect(example.signedHeaders.authorization).toContain(signature);
  });

  it("are made anew for each attempt, at its time", async () => {
    const signer = new RequestSigner(keysOf({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET }), "us-east-1");
    const at = (ms: number) => signer.sign(aRequest({ headers: { [DATE_HEADER]: amzDate(ms) } }), "https://h");
    const [first, second] = await Promise.all([at(WALL_NOW_MS), at(WALL_NOW_MS + 1_000)]);
    expect(first.headers[DATE_HEADER]).toBe("20260101T000000Z");
    expect(second.headers[DATE_HEADER]).toBe("20260101T000001Z");
    expect(first.headers.authorization).not.toBe(second.headers.authorization);
  });
});

describe("keys from a function", () => {
  const keys = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET };
  const signWith = (provider: () => AwsCredentials | Promise<AwsCredentials>) => {
    const signer = new RequestSigner(provider, "us-east-1");
    return (ms = WALL_NOW_MS) => signer.sign(aRequest({ headers: { [DATE_HEADER]: amzDate(ms) } }), "https://h");
  };

  it("are asked for again for each attempt", async () => {
    let count = 0;
    const sign = signWith(() => ({ ...keys, accessKeyId: `AKID${++count}` }));
    expect((await sign()).headers.authorization).toContain("Credential=AKID1/");
    expect((await sign()).headers.authorization).toContain("Credential=AKID2/");
  });

  it("are kept until five minutes before they expire", async () => {
    let count = 0;
    const expiration = new Date(WALL_NOW_MS + 3_600_000);
    const sign = signWith(async () => ({ ...keys, accessKeyId: `AKID${++count}`, sessionToken: "t-123", expiration }));
    await sign();
    await sign(WALL_NOW_MS + 3_299_000);
    expect(count).toBe(1);
    expect((await sign(WALL_NOW_MS + 3_300_000)).headers.authorization).toContain("Credential=AKID2/");
  });

  it("are looked up once for attempts that wait at the same time", async () => {
    let count = 0;
    const sign = signWith(async () => {
      count += 1;
      return keys;
    });
    await Promise.all([sign(), sign(), sign()]);
    expect(count).toBe(1);
  });

  it("S18: tell nothing of why they failed", async () => {
    const sign = signWith(() => Promise.reject(new Error(`bad ${SECRET}`)));
    const error: unknown = await sign().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ errorClass: "network", message: "the deployment's `credentials` function failed" });
    expect(inspect(error, { depth: 9 })).not.toContain(SECRET);
    // The next attempt asks again.
    let isReady = false;
    const second = signWith(() => (isReady ? keys : Promise.reject(new Error("not yet"))));
    await expect(second()).rejects.toMatchObject({ errorClass: "network" });
    isReady = true;
    await expect(second()).resolves.toBeDefined();
  });

  it.each([
    ["nothing", undefined],
    ["half a key", { accessKeyId: "AKIDEXAMPLE" }],
    ["S42: what no header may carry", { accessKeyId: "AKID\r\nx: y", secretAccessKey: SECRET }],
    ["a token that is none", { accessKeyId: "AKIDEXAMPLE", secretAccessKey: SECRET, sessionToken: 5 }],
  ])("are refused when they are %s", async (_, result) => {
    const sign = signWith(() => result as unknown as AwsCredentials); // what a function may return against its type
    await expect(sign()).rejects.toMatchObject({ errorClass: "authentication" });
  });
});
