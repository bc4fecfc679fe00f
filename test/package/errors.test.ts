import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, expectTypeOf, it } from "vitest";
import { catalog, type ErrorCode } from "../../src/errors/catalog.js";
import { InvalidOptionsError, RouterError, routerError } from "../../src/errors/router-error.js";

const page = readFileSync(resolve(import.meta.dirname, "../../docs/errors.md"), "utf8");
const rows = (pattern: RegExp) => [...page.matchAll(pattern)];
const codes = Object.keys(catalog) as ErrorCode[];

describe("the error catalogue", () => {
  it("is docs/errors.md: every code with its status, type and retry, and no other", () => {
    const documented = rows(/^\| `(\w+)` \| (\d+|–) \| `(\w+)` \| (yes|no) \| (.+) \|$/gm).map(
      ([, code, status, type, retry]) => [code, status === "–" ? 0 : Number(status), type, retry === "yes"],
    );
    expect(documented).toEqual(
      codes.map((code) => [code, catalog[code].status, catalog[code].type, catalog[code].clientRetry]),
    );
  });

  it("gives each code the class that the page names", () => {
    const documented = new Map(
      rows(/^\| `(\w+Error)` \| (.+) \|$/gm).flatMap(([, name, list]) =>
        [...(list ?? "").matchAll(/`(\w+)`/g)].map(([, code]) => [code, name] as const),
      ),
    );
    const actual = new Map(codes.map((code) => [code, errorOf(code).constructor.name] as const));
    expect(documented).toEqual(actual);
  });

  it("is the type of every error's code", () => {
    expectTypeOf<RouterError["code"]>().toEqualTypeOf<keyof typeof catalog>();
  });

  it("fills an error's outside from its entry", () => {
    for (const code of codes) {
      const error = errorOf(code);
      expect(error).toBeInstanceOf(RouterError);
      expect(RouterError.isRouterError(error)).toBe(true);
      expect(error).toMatchObject({ code, status: catalog[code].status, type: catalog[code].type, param: null });
    }
    expect(errorOf("cancelled").name).toBe("AbortError");
  });
});

function errorOf(code: ErrorCode): RouterError {
  return code === "invalid_options"
    ? new InvalidOptionsError([{ path: "models", message: "missing" }])
    : routerError(code);
}
