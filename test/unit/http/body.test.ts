import { describe, expect, it } from "vitest";
import type { RouterError } from "../../../src/errors/router-error.js";
import { BodyMeter, checkBodyHeaders, parseBody } from "../../../src/http/body.js";
import type { BodyLimits, HttpRequest } from "../../../src/http/http-request.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";

const limits: BodyLimits = {
  maxBodyBytes: 10_485_760,
  bodyTimeoutMs: 30_000,
  minBodyBytesPerSecond: 1_024,
  bodyGraceMs: 10_000,
  maxJsonDepth: 64,
};
const bytes = (text: string) => ({ kind: "bytes" as const, bytes: new TextEncoder().encode(text) });

function errorOf(run: () => unknown): Pick<RouterError, "code" | "message"> {
  try {
    run();
  } catch (error) {
    return error as RouterError; // nothing else is thrown here
  }
  throw new Error("nothing was thrown");
}

describe("headers of a body", () => {
  const check = (headers: Record<string, string>) =>
    checkBodyHeaders({ header: (name: string) => headers[name] } as Partial<HttpRequest> as HttpRequest, limits); // reads headers only

  it.each([
    "application/json",
    "application/json; charset=utf-8",
    'Application/JSON;charset="UTF-8"',
    "application/json; charset=utf8; profile=x",
    "",
  ])("take the content type %j", (type) => {
    expect(() => check({ "content-type": type })).not.toThrow();
  });

  it("take a body without a content type", () => {
    expect(() => check({})).not.toThrow();
    expect(() => check({ "content-encoding": "identity" })).not.toThrow();
  });

  it.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "application/json, text/plain",
  ])("refuse the content type %j", (type) => {
    expect(errorOf(() => check({ "content-type": type })).code).toBe("unsupported_media_type");
  });

  it.each(["gzip", "br", "identity, gzip", "x"])("refuse the content coding %j", (coding) => {
    expect(errorOf(() => check({ "content-encoding": coding })).code).toBe("unsupported_media_type");
  });

  it("S22: refuse a declared length above the limit before anything is read", () => {
    expect(() => check({ "content-length": "10485760" })).not.toThrow();
    expect(errorOf(() => check({ "content-length": "10485761" })).code).toBe("request_too_large");
  });
});

describe("metering a body", () => {
  function meter(overrides: Partial<BodyLimits> = {}) {
    const clock = virtualClock();
    const late: RouterError[] = [];
    return { clock, late, meter: new BodyMeter(clock, { ...limits, ...overrides }, (error) => late.push(error)) };
  }

  it("S22: stops at the first byte beyond the limit", () => {
    const { meter: bodyMeter } = meter({ maxBodyBytes: 10 });
    bodyMeter.add(10);
    expect(errorOf(() => bodyMeter.add(1)).code).toBe("request_too_large");
  });

  it("gives a body without a byte its grace, and no more", async () => {
    const { clock, late } = meter();
    await clock.advance(9_999);
    expect(late).toHaveLength(0);
    await clock.advance(1);
    expect(late.map(({ code }) => code)).toEqual(["request_timeout"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("lets a body go on for as long as its bytes buy at the slowest pace", async () => {
    const { clock, late, meter: bodyMeter } = meter();
    for (let second = 0; second < 15; second++) {
      bodyMeter.add(1_024);
      await clock.advance(1_000);
    }
    expect(late).toHaveLength(0);
    await clock.advance(9_999);
    expect(late).toHaveLength(0);
    await clock.advance(1);
    expect(late).toHaveLength(1);
  });

  it("R7: ends at the whole time, however fast the bytes come", async () => {
    const { clock, late, meter: bodyMeter } = meter();
    for (let second = 0; second < 29; second++) {
      bodyMeter.add(100_000);
      await clock.advance(1_000);
    }
    expect(late).toHaveLength(0);
    await clock.advance(1_000);
    expect(late.map(({ code }) => code)).toEqual(["request_timeout"]);
  });

  it("takes any pace where none is demanded", async () => {
    const { clock, late } = meter({ minBodyBytesPerSecond: 0 });
    await clock.advance(29_999);
    expect(late).toHaveLength(0);
    await clock.advance(1);
    expect(late).toHaveLength(1);
  });

  it("leaves no timer behind once stopped", async () => {
    const { clock, late, meter: bodyMeter } = meter();
    bodyMeter.stop();
    expect(clock.pendingTimers).toBe(0);
    await clock.advance(60_000);
    expect(late).toHaveLength(0);
  });
});

describe("parsing a body", () => {
  it("reads a JSON object, with or without a byte order mark", () => {
    expect(parseBody(bytes('{"model":"chat"}'), limits)).toEqual({ model: "chat" });
    expect(parseBody(bytes('\ufeff{"model":"grüße"}'), limits)).toEqual({ model: "grüße" });
  });

  it.each(["", "  \n", "[]", "null", '"text"', "1", "true"])("refuses %j: it is no object", (text) => {
    expect(errorOf(() => parseBody(bytes(text), limits)).code).toBe("invalid_request");
  });

  it("says where the fault is, and echoes nothing of the body", () => {
    const error = errorOf(() => parseBody(bytes('{"secret": hunter2}'), limits));
    expect(error.code).toBe("invalid_request");
    expect(error.message).toContain("position 11");
    expect(error.message).not.toContain("hunter2");
    expect(errorOf(() => parseBody(bytes('{"a":"hunter2'), limits)).message).toContain("position 13");
  });

  it.each([
    [[0x7b, 0xff, 0x7d]],
    [[0x22, 0xc3, 0x28, 0x22]],
    [[0xed, 0xa0, 0x80]],
    [[0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
  ])("refuses bytes that are not UTF-8: %j", (invalid) => {
    const error = errorOf(() => parseBody({ kind: "bytes", bytes: new Uint8Array(invalid) }, limits));
    expect(error).toMatchObject({ code: "invalid_request", message: "The request body is not valid UTF-8." });
  });

  it("refuses NaN and Infinity, which are not JSON", () => {
    expect(errorOf(() => parseBody(bytes('{"n":NaN}'), limits)).message).toContain("position 5");
    expect(errorOf(() => parseBody(bytes('{"n":-Infinity}'), limits)).message).toContain("position 5");
  });

  it("S37: refuses what nests too deep before parsing it", () => {
    const nested = (depth: number) => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
    expect(() => parseBody(bytes(nested(64)), limits)).not.toThrow();
    expect(errorOf(() => parseBody(bytes(nested(65)), limits)).message).toContain("deeper than 64 levels");
    expect(errorOf(() => parseBody(bytes("[".repeat(1_000_000)), limits)).code).toBe("invalid_request");
  });

  it("S29: keeps prototypes intact, whatever the keys are called", () => {
    const body = parseBody(
      bytes('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'),
      limits,
    );
    expect({}).not.toHaveProperty("polluted");
    expect(body).not.toHaveProperty("polluted");
    expect(Object.getPrototypeOf(body)).toBe(Object.prototype);
  });

  it("takes what a parser in front of the handler has made: a value, or text", () => {
    const value = { model: "chat" };
    expect(parseBody({ kind: "value", value }, limits)).toBe(value);
    expect(parseBody({ kind: "value", value: '{"model":"chat"}' }, limits)).toEqual(value);
    expect(errorOf(() => parseBody({ kind: "value", value: 3 }, limits)).code).toBe("invalid_request");
    let deep: unknown = {};
    for (let depth = 0; depth < 100_000; depth++) deep = [deep];
    expect(errorOf(() => parseBody({ kind: "value", value: deep }, limits)).message).toContain("deeper than 64 levels");
  });
});
