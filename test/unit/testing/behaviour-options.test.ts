import { afterEach, describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";
import {
  type Behaviour,
  badFraming,
  error,
  type FakeUpstream,
  gzip,
  hugeBody,
  hugeHeaders,
  informational,
  raw,
  redirect,
  reply,
  resetAfterHeaders,
  resetBeforeHeaders,
  respond,
  silence,
  slowHeaders,
  startFakeUpstream,
  startSimulatedUpstream,
  stream,
  surplusBytes,
  wrongType,
} from "../../../src/testing/index.js";

/** What JavaScript lets through. */
const untyped = (value: unknown) => value as never;

function messageOf(make: () => unknown): string {
  try {
    make();
  } catch (problem) {
    expect(problem).toBeInstanceOf(InvalidOptionsError);
    return (problem as InvalidOptionsError).issues.map(({ path, message }) => `${path}: ${message}`).join("\n");
  }
  return "nothing was refused";
}

describe("the options of behaviours", () => {
  const refusals: [() => unknown, string][] = [
    [() => stream(untyped({ mspertoken: 5 })), 'stream.mspertoken: unknown option; did you mean "msPerToken"?'],
    [() => stream({ msPerToken: -1 }), "stream.msPerToken: expected at least 0, received -1"],
    [() => stream({ msPerToken: Number.NaN }), "stream.msPerToken: expected a finite number, received NaN"],
    [() => stream({ firstTokenMs: untyped("20") }), 'stream.firstTokenMs: expected a finite number, received "20"'],
    [() => stream({ jitter: 2 }), "stream.jitter: expected at most 1, received 2"],
    [() => stream({ pieceBytes: 0 }), "stream.pieceBytes: expected at least 1, received 0"],
    [() => stream({ pingMs: 0 }), "stream.pingMs: expected at least 1, received 0"],
    [
      () => stream({ cutAfterEvents: 1.5 }),
      "stream.cutAfterEvents: expected an integer from 0, or Infinity, received 1.5",
    ],
    [() => stream({ cut: untyped("abort") }), 'stream.cut: expected one of "reset", "close", received "abort"'],
    [() => stream({ chunks: untyped("abc") }), 'stream.chunks: expected an array, received "abc"'],
    [() => stream({ chunks: ["a", untyped(5)] }), "stream.chunks[1]: expected a string, received 5"],
    [
      () => stream({ insert: [untyped({ after: 1, bytes: "x" })] }),
      "stream.insert[0].afterEvents: expected an integer from 0, or Infinity",
    ],
    [() => stream({ done: untyped("no") }), 'stream.done: expected a boolean, received "no"'],
    [() => stream(untyped(5)), "stream: expected an object, received 5"],
    [() => reply({ text: untyped(5) }), "reply.text: expected a string, received 5"],
    [
      () => reply({ usage: untyped("none") }),
      'reply.usage: expected counts of tokens, "absent" or "absurd", received "none"',
    ],
    [() => reply({ headers: untyped({ a: 1 }) }), "reply.headers.a: expected a string, received 1"],
    [() => reply({ toolCalls: [untyped({ arguments: {} })] }), "reply.toolCalls[0].name: is required"],
    [() => reply({ until: untyped(20) }), "reply.until: expected a promise, received 20"],
    [() => reply({ delayMs: Number.POSITIVE_INFINITY }), "reply.delayMs: expected a finite number, received Infinity"],
    [() => error(untyped("500")), 'error.status: expected a finite number, received "500"'],
    [() => error(99), "error.status: expected at least 100, received 99"],
    [() => error(429, untyped({ retryAfterMs: 5 })), 'error.retryAfterMs: unknown option; did you mean "retryAfter"?'],
    [
      () => error(429, { retryAfter: untyped({}) }),
      "error.retryAfter: expected a number or a string, received an object",
    ],
    [() => respond(untyped({ statuscode: 404 })), "respond.statuscode: unknown option"],
    [() => respond({ status: 1_000 }), "respond.status: expected at most 999, received 1000"],
    [() => resetBeforeHeaders(untyped({ at: "after-headers" })), "resetBeforeHeaders.at: unknown option"],
    [() => resetAfterHeaders({ delayMs: -1 }), "resetAfterHeaders.delayMs: expected at least 0, received -1"],
    [
      () => silence(untyped({ afterheaders: true })),
      'silence.afterheaders: unknown option; did you mean "afterHeaders"?',
    ],
    [() => slowHeaders(untyped({ overMs: 5 })), "slowHeaders.overMs: expected a finite number, received an object"],
    [() => slowHeaders(untyped(undefined)), "slowHeaders.overMs: is required"],
    [() => informational(-1), "informational.count: expected an integer from 0, or Infinity, received -1"],
    [() => informational(2, untyped("5")), 'informational.everyMs: expected a finite number, received "5"'],
    [() => redirect(untyped(302)), "redirect.url: expected a string, received 302"],
    [() => redirect("/", 200), "redirect.status: expected one of 301, 302, 303, 307, 308, received 200"],
    [() => gzip(untyped({ tect: "" })), 'gzip.tect: unknown option; did you mean "text"?'],
    [() => wrongType(untyped(5)), "wrongType.contentType: expected a string, received 5"],
    [() => hugeBody(1.5), "hugeBody.bytes: expected an integer, received 1.5"],
    [() => hugeHeaders(-1), "hugeHeaders.bytes: expected at least 0, received -1"],
    [
      () => badFraming(untyped("chunks")),
      'badFraming.fault: expected one of "chunk-size", "content-lengths", "status-line"',
    ],
    [() => surplusBytes(-1), "surplusBytes.afterMs: expected at least 0, received -1"],
    [() => raw(untyped("HTTP/1.1 200 OK")), "raw.pieces: expected an array"],
    [() => raw([untyped({ wait: 5 })]), "raw.pieces[0]: expected text, bytes or { waitMs }, received an object"],
    [() => raw([], untyped({ end: "open" })), 'raw.end: expected one of "close", "reset", "stay", received "open"'],
  ];
  it.each(refusals.map(([make, message]) => [message, make] as const))("are refused: %s", (message, make) => {
    expect(messageOf(make)).toContain(message);
  });

  it("an unknown name that is near to none is answered with those that there are", () => {
    expect(messageOf(() => stream(untyped({ bananas: 1 })))).toContain("there are delayMs, until, text,");
    expect(messageOf(() => silence(untyped({ bananas: 1 })))).toContain('expected "afterHeaders"');
  });

  it("those of a stream are no options of a whole answer, and all problems come at once", () => {
    expect(messageOf(() => reply(untyped({ firstTokenMs: 5, text: 5 })))).toMatch(
      /^reply\.firstTokenMs: unknown option|\nreply\.firstTokenMs: unknown option/,
    );
    expect(messageOf(() => reply(untyped({ firstTokenMs: 5, text: 5 }))).split("\n")).toHaveLength(2);
  });

  it("that are right make what they always made", () => {
    const until = Promise.resolve();
    const all = { delayMs: 1, until, text: "x", usage: { prompt_tokens: -1 } as never, finishReason: null };
    expect(reply(all)).toEqual({ kind: "answer", options: all });
    expect(stream({ cutAfterEvents: Number.POSITIVE_INFINITY })).toMatchObject({ kind: "answer" });
    expect(raw([new Uint8Array(1), { waitMs: 5 }])).toMatchObject({ kind: "raw", end: "close" });
  });
});

describe("a fake upstream", () => {
  const open: FakeUpstream[] = [];
  afterEach(() => Promise.all(open.splice(0).map((upstream) => upstream.close())));
  const start = async () => {
    const upstream = await startFakeUpstream();
    open.push(upstream);
    return upstream;
  };

  it.each<[unknown, string]>([
    [{ prot: 80 }, 'startFakeUpstream.prot: unknown option; did you mean "port"?'],
    [{ port: "80" }, 'startFakeUpstream.port: expected a finite number, received "80"'],
    [{ models: "gpt" }, 'startFakeUpstream.models: expected an array, received "gpt"'],
    [{ clock: {} }, "startFakeUpstream.clock: expected a clock: an object with the functions"],
    [{ keepRequests: 0 }, "startFakeUpstream.keepRequests: expected at least 1, received 0"],
  ])("with the options %j is refused", async (options, message) => {
    await expect(startFakeUpstream(untyped(options))).rejects.toThrow(message);
    await expect(startFakeUpstream(untyped(options))).rejects.toBeInstanceOf(InvalidOptionsError);
  });

  it.each<[unknown, string]>([
    [{ prot: 80 }, 'startSimulatedUpstream.prot: unknown option; did you mean "port"?'],
    [{ failureRate: 2 }, "startSimulatedUpstream.failureRate: expected at most 1, received 2"],
    [{ models: [] }, "startSimulatedUpstream.models: expected an object"],
  ])("of simulated models with the options %j is refused", async (options, message) => {
    await expect(startSimulatedUpstream(untyped({ models: {}, ...(options as object) }))).rejects.toThrow(message);
  });

  it("of simulated models refuses conditions that are none", async () => {
    const upstream = await startSimulatedUpstream({ models: {} });
    open.push(upstream);
    expect(messageOf(() => upstream.setConditions(untyped({ failurerate: 1 })))).toContain(
      'setConditions.failurerate: unknown option; did you mean "failureRate"?',
    );
    expect(messageOf(() => upstream.setConditions({ latencyFactor: -1 }))).toContain("setConditions.latencyFactor");
  });

  it("takes nothing but behaviours and functions for a script", async () => {
    const upstream = await start();
    const expected = "expected a behaviour, such as reply() or error(500)";
    expect(messageOf(() => upstream.next(reply(), untyped("hello")))).toBe(`next[1]: ${expected}, received "hello"`);
    expect(messageOf(() => upstream.next(untyped(reply)))).toBe(`next[0]: ${expected}, received a function`);
    expect(messageOf(() => upstream.always(untyped({ kind: "anser" })))).toBe(
      `always: ${expected}, received an object`,
    );
    expect(messageOf(() => upstream.when(untyped(reply())))).toContain("when: expected a function");
    await expect(upstream.waitForRequest(0)).rejects.toThrow("waitForRequest: expected an integer from 1, received 0");
  });

  it("answers a rule that gives no behaviour with the reason", async () => {
    const upstream = await start();
    upstream.when(() => "hello" as unknown as Behaviour); // what JavaScript lets through
    const response = await fetch(`${upstream.url}/models`);
    expect([response.status, await response.text()]).toEqual([
      500,
      expect.stringContaining('when: expected a behaviour, such as reply() or error(500), received "hello"'),
    ]);
  });
});
