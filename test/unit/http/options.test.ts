import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../src/errors/router-error.js";
import { type HandlerOptions, handlerSchema, parseHandlerOptions } from "../../../src/http/options.js";
import { systemClock } from "../../../src/internal/clock.js";
import { inputLimitsSchema } from "../../../src/router/input-limits.js";

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
      authorizeMetrics: undefined,
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
    const issues = issuesOf({
      maxBodyBytes: 0,
      bodyTimeoutMs: 1.5,
      stallTimeoutMs: "60",
      maxJsonDepth: 513,
      authenticate: true,
      clock: {},
      maxBodyByte: 1,
    });
    expect(issues.sort()).toEqual([
      "authenticate: expected a function, or `false`: every caller is anonymous, received true",
      "bodyTimeoutMs: expected an integer, received 1.5",
      "clock: expected a clock: an object with `now` and `schedule`, received an object",
      'maxBodyByte: unknown option; did you mean "maxBodyBytes"?',
      "maxBodyBytes: expected at least 1, received 0",
      "maxJsonDepth: expected at most 512, received 513",
      'stallTimeoutMs: expected a finite number, received "60"',
    ]);
  });

  it("stand in docs and docstrings with the defaults that they have", () => {
    const routersLimits = inputLimitsSchema.parse({});
    const defaults: Record<keyof HandlerOptions, unknown> = {
      ...parseHandlerOptions({}),
      authenticate: "–",
      authorizeMetrics: "–",
      maxBodyBytes: routersLimits.bodyBytes,
      bodyTimeoutMs: routersLimits.bodyTimeMs,
      minBodyBytesPerSecond: routersLimits.bodyBytesPerSecond,
      bodyGraceMs: routersLimits.bodyGraceMs,
      maxJsonDepth: routersLimits.jsonDepth,
      clock: "the machine's",
    };
    expect(Object.keys(handlerSchema.shape).sort()).toEqual(
      Object.keys(defaults)
        .filter((name) => name !== "limits")
        .sort(),
    );
    const read = (path: string) => readFileSync(resolve(import.meta.dirname, "../../..", path), "utf8");
    const [docs, source] = [read("docs/http.md"), read("src/http/options.ts")];
    for (const name of Object.keys(handlerSchema.shape) as (keyof HandlerOptions)[]) {
      const shown = name === "basePath" ? `\`"${defaults[name]}"\`` : String(defaults[name]);
      expect(docs).toContain(`| \`${name}\` | ${shown} |`);
      if (name === "authenticate" || name === "authorizeMetrics") continue;
      const docstring =
        source
          .slice(0, source.indexOf(`readonly ${name}?`))
          .split("@default")
          .at(-1) ?? "";
      expect(docstring).toContain(name === "basePath" ? '"/v1"' : shown);
    }
  });

  it("refuse what is no object", () => {
    expect(issuesOf(null)).toHaveLength(1);
    expect(issuesOf("/v1")).toHaveLength(1);
  });
});
