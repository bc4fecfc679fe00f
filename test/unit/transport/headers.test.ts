import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkedHeaders, headerProblem, responseHeaders } from "../../../src/transport/headers.js";

describe("checkedHeaders", () => {
  it("S42: gives names in lower case and values as they are, frozen", () => {
    const checked = checkedHeaders({ "X-Title": "My app", Authorization: "Bearer sk-1" });
    expect(checked).toEqual({ "x-title": "My app", authorization: "Bearer sk-1" });
    expect(Object.isFrozen(checked)).toBe(true);
  });

  it.each([
    "Connection",
    "content-length",
    "Cookie",
    "expect",
    "Host",
    "keep-alive",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
  ])("S42: refuses %s, which belongs to the connection, the message or the client", (name) => {
    expect(() => checkedHeaders({ [name]: "x" })).toThrow(TypeError);
  });

  it.each(["", "a b", "a:b", "a\r\nb", "ä", "(x)"])("S42: refuses %j as a name", (name) => {
    expect(headerProblem(name, "x")).toMatch(/^Expected a header name/);
  });

  it.each(["a\r\nx-evil: 1", "a\n", "\0", "tab\there", "\u007f"])("S42: refuses control characters in %j", (value) => {
    expect(() => checkedHeaders({ "x-y": value })).toThrow(/`x-y` has a control character/);
  });

  it("S18: quotes no value in what it says", () => {
    for (const value of ["sk-secret\n", "sk-secretä"]) {
      expect(headerProblem("authorization", value)).toMatch(/`authorization`/);
      expect(headerProblem("authorization", value)).not.toContain("secret");
    }
  });

  it("S42: percent-encodes what is not ASCII, as UTF-8, also half of a surrogate pair", () => {
    expect(checkedHeaders({ "x-title": "Bücher 🚂" })).toEqual({ "x-title": "B%C3%BCcher %F0%9F%9A%82" });
    expect(checkedHeaders({ "x-title": "a\ud800b" })).toEqual({ "x-title": "a%EF%BF%BDb" });
  });

  it("S42: does not encode a credential but refuses it", () => {
    for (const name of ["Authorization", "api-key", "x-api-key", "x-goog-api-key"]) {
      expect(() => checkedHeaders({ [name]: "schlüssel" })).toThrow(/outside ASCII/);
    }
  });

  it("drops blanks around a value, refuses the same name twice", () => {
    expect(checkedHeaders({ a: "  b c " })).toEqual({ a: "b c" });
    expect(() => checkedHeaders({ "X-A": "1", "x-a": "2" })).toThrow(/`x-a` is given twice/);
  });

  it("S29: takes __proto__ as a name like any other", () => {
    const checked = checkedHeaders(JSON.parse('{"__proto__":"x"}'));
    expect(Object.keys(checked)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(checked)).toBe(Object.prototype);
  });

  it("S42: lets only printable ASCII through, whatever it is given", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (name, value) => {
        let checked: Readonly<Record<string, string>>;
        try {
          checked = checkedHeaders({ [name]: value });
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          return;
        }
        for (const [checkedName, checkedValue] of Object.entries(checked)) {
          expect(checkedName).toMatch(/^[!#$%&'*+\-.^_`|~0-9a-z]+$/);
          expect(checkedValue).toMatch(/^[ -~]*$/);
        }
      }),
    );
  });
});

describe("responseHeaders", () => {
  const raw = (...texts: string[]) => texts.map((text) => Buffer.from(text, "latin1"));

  it("lower-cases names and keeps values", () => {
    expect([...responseHeaders(raw("Content-Type", "text/plain", "X-A", "é"))]).toEqual([
      ["content-type", "text/plain"],
      ["x-a", "é"],
    ]);
  });

  it("joins repeated headers in their order", () => {
    const headers = responseHeaders(raw("A", "1", "b", "2", "a", "3", "A", "4"));
    expect([...headers]).toEqual([
      ["a", "1, 3, 4"],
      ["b", "2"],
    ]);
  });

  it("takes none", () => {
    expect(responseHeaders([]).size).toBe(0);
  });
});
