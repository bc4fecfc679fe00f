import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";
import { type HandlerOptions, parseHandlerOptions } from "../../../src/http/options.js";
import { systemClock } from "../../../src/internal/clock.js";

function issuesOf(options: unknown): string[] {
  try {
    parseHandlerOptions(options as HandlerOptions); // wrong on purpose
  } catch (error) {
    if (error instanceof InvalidOptionsError) return error.issues.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

describe("handler options", () => {
  it("have defaults, and leave body limits to the router where they are not given", () => {
    expect(parseHandlerOptions({})).toEqual({
      authenticate: undefined,
      authenticateTimeoutMs: 5_000,
      basePath: "/v1",
      limits: {
        maxBodyBytes: undefined,
        bodyTimeoutMs: undefined,
        minBodyBytesPerSecond: undefined,
        bodyGraceMs: undefined,
        maxJsonDepth: undefined,
      },
      stallTimeoutMs: 60_000,
      clock: systemClock,
    });
  });

  it.each([
    ["/v1/", "/v1"],
    ["/", ""],
    ["", ""],
    ["/a/b.c", "/a/b.c"],
  ])("take the base path %j as %j", (given, parsed) => {
    expect(parseHandlerOptions({ basePath: given }).basePath).toBe(parsed);
  });

  it.each(["v1", "/v1//", "//", "/a/../b", "/.", "/a b", "/a?b", "/%76", "/ü"])(
    "refuse the base path %j",
    (basePath) => {
      expect(issuesOf({ basePath })).toEqual([expect.stringMatching(/^basePath: expected a path such as/)]);
    },
  );

  it("report all problems at once, each with its path, bounds and value", () => {
    expect(
      issuesOf({
        maxBodyBytes: 0,
        bodyTimeoutMs: 1.5,
        stallTimeoutMs: "60",
        authenticate: true,
        clock: {},
        maxBodySize: 1,
      }),
    ).toEqual([
      expect.stringMatching(/^authenticate: expected a function/),
      "maxBodyBytes: expected an integer from 1 to 1073741824, received 0",
      "bodyTimeoutMs: expected an integer from 1 to 600000, received 1.5",
      "stallTimeoutMs: expected an integer from 1 to 3600000, received a string",
      expect.stringMatching(/^clock: expected a clock/),
      expect.stringMatching(/^maxBodySize: is not an option of the handler; those are authenticate, /),
    ]);
  });

  it("refuse what is no object", () => {
    expect(issuesOf(null)).toHaveLength(1);
    expect(issuesOf("/v1")).toHaveLength(1);
  });
});
