import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerKey, questionOf } from "../../../../src/plugins/cache/answer-key.js";
import { GuardedRequest } from "../../../../src/plugins/guarded-request.js";
import type { PluginRequest, Principal } from "../../../../src/plugins/plugin.js";
import type { Operation, RequestBody } from "../../../../src/protocol/operations.js";
import { someFacts } from "../../../support/plugin-fixtures.js";
import "../../../support/seed.js";

interface Parts {
  readonly operation: Operation;
  readonly principal: Principal | undefined;
  readonly scope: string;
  readonly body: Record<string, unknown>;
}

const NOTHING: ReadonlySet<string> = new Set();
const viewOf = ({ operation, principal, body }: Parts): PluginRequest =>
  new GuardedRequest(someFacts({ operation, principal }), body as unknown as RequestBody).view; // any body will do
const keyOf = (parts: Parts, ignored = NOTHING) => answerKey(viewOf(parts), parts.scope, ignored);

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.constantFrom("a", "b", "", '"', "\\", "\ud800", "\ufffd"),
);
const json = fc.jsonValue({ maxDepth: 3 });
const content = fc.oneof(
  text,
  fc.array(fc.record({ type: fc.constant("text"), text }), { minLength: 1, maxLength: 2 }),
);
const message = fc.record({ role: fc.constantFrom("system", "user", "assistant", "tool"), content });
const principal = fc.option(
  fc.record({ key: text, user: text, team: text, organization: text }, { requiredKeys: [] }),
  { nil: undefined },
);
const others = fc.dictionary(
  fc.constantFrom(
    "temperature",
    "top_p",
    "n",
    "seed",
    "max_tokens",
    "stop",
    "tools",
    "tool_choice",
    "response_format",
    "logit_bias",
    "user",
    "reasoning_effort",
    "unknown",
  ),
  json,
);
const parts: fc.Arbitrary<Parts> = fc.record({
  operation: fc.constantFrom<Operation>("chat.completions", "completions", "embeddings"),
  principal,
  scope: text,
  body: fc
    .tuple(fc.record({ model: text, messages: fc.array(message, { maxLength: 3 }) }), others)
    .map(([own, more]) => ({ ...own, ...more })),
});

const tenantOf = (who: Principal | undefined) => {
  for (const level of ["organization", "team", "user", "key"] as const) {
    if (who?.[level] !== undefined) return [level, who[level]];
  }
  return ["host"];
};
/** What counts: the answer may depend on all of it. */
const countedOf = ({ operation, principal: who, scope, body }: Parts) => [
  operation,
  tenantOf(who),
  scope,
  // As it goes over the wire.
  JSON.parse(JSON.stringify(body)),
];

describe("the key of an answer", () => {
  it("S39: is never that of a request that differs in anything that counts, and always that of an equal one", () => {
    fc.assert(
      fc.property(parts, parts, (left, right) => {
        let isEqual = true;
        try {
          expect(countedOf(left)).toStrictEqual(countedOf(right));
        } catch {
          isEqual = false;
        }
        const [one, other] = [keyOf(left), keyOf(right)];
        expect(one.key === other.key).toBe(isEqual);
        expect(one.check === other.check).toBe(isEqual);
        expect(keyOf(structuredClone(left))).toEqual(one);
      }),
      { numRuns: 500 },
    );
  });

  it("S39: changes with each single field", () => {
    const change = fc.constantFrom<(given: Parts, value: unknown) => Parts>(
      (given, value) => ({ ...given, scope: `${given.scope}${JSON.stringify(value)}` }),
      (given, value) => ({ ...given, body: { ...given.body, model: [given.body.model, value] } }),
      (given, value) => ({ ...given, body: { ...given.body, [`field${JSON.stringify(value)}`]: null } }),
      (given, value) => ({ ...given, body: { ...given.body, seed: [given.body.seed ?? null, value] } }),
      (given, value) => ({ ...given, body: { ...given.body, messages: [...(given.body.messages as []), value] } }),
      (given, value) => ({
        ...given,
        principal: { organization: `${given.principal?.organization}${String(value)}!` },
      }),
    );
    fc.assert(
      fc.property(parts, change, json, (given, changed, value) => {
        const [before, after] = [keyOf(given), keyOf(changed(given, value))];
        expect(after.key).not.toBe(before.key);
        expect(after.check).not.toBe(before.check);
      }),
      { numRuns: 1_000 },
    );
  });

  it("does not depend on how the answer travels, on the order of fields, or on who of a tenant asks", () => {
    const given: Parts = {
      operation: "chat.completions",
      principal: { user: "ada", organization: "acme" },
      scope: "s",
      body: { model: "chat", messages: [{ role: "user", content: "hi" }], seed: 1 },
    };
    const { key } = keyOf(given);
    const like = (body: object, who: Principal = { key: "other", organization: "acme" }) =>
      keyOf({ ...given, principal: who, body: { ...given.body, ...body } }).key;
    expect(like({ stream: true, stream_options: { include_usage: true } })).toBe(key);
    expect(keyOf({ ...given, body: { seed: 1, messages: [{ content: "hi", role: "user" }], model: "chat" } }).key).toBe(
      key,
    );
    expect(like({}, { organization: "other" })).not.toBe(key);
    expect(like({}, { team: "acme" })).not.toBe(key);
    expect(keyOf({ ...given, body: { ...given.body, user: "x" } }, new Set(["user"])).key).toBe(key);
  });

  it("depends on the order of a schema's properties: models write them in that order", () => {
    const withSchema = (properties: object): Parts => ({
      operation: "chat.completions",
      principal: undefined,
      scope: "",
      body: { response_format: { type: "json_schema", json_schema: { name: "x", schema: { properties } } } },
    });
    expect(keyOf(withSchema({ reason: {}, verdict: {} })).key).not.toBe(
      keyOf(withSchema({ verdict: {}, reason: {} })).key,
    );
  });
});

describe("a question", () => {
  const of = (messages: unknown, more: object = {}, who?: Principal) =>
    questionOf(
      viewOf({ operation: "chat.completions", principal: who, scope: "s", body: { model: "chat", messages, ...more } }),
      "s",
      NOTHING,
    );
  const user = (text: unknown) => [{ role: "user", content: text }];

  it("is the last text of the user; its likeness is everything else", () => {
    expect(of(user("one"))?.text).toBe("one");
    expect(of(user("one"))?.likeness).toBe(of(user("two"))?.likeness);
    const image = { type: "image_url", image_url: { url: "data:," } };
    const withImage = of(user([{ type: "text", text: "one" }, image]));
    expect(withImage).toMatchObject({ text: "one" });
    const different = [
      of(user("one")),
      withImage,
      of(user([{ type: "text", text: "one" }])),
      of(
        user([
          { type: "text", text: "one" },
          { ...image, image_url: { url: "data:x" } },
        ]),
      ),
      of([{ role: "system", content: "s" }, ...user("one")]),
      of([{ role: "user", content: "one", name: "ada" }]),
      of(user("one"), { seed: 1 }),
      of(user("one"), {}, { team: "t" }),
    ];
    expect(new Set(different.map((question) => question?.likeness)).size).toBe(different.length);
  });

  it("is none where the request does not end in a text of the user's", () => {
    for (const messages of [
      undefined,
      [],
      user(""),
      user("  "),
      user(null),
      user([]),
      user("x".repeat(8_001)),
      [...user("one"), { role: "assistant", content: "two" }],
      [{ role: "tool", content: "one", tool_call_id: "1" }],
    ]) {
      expect(of(messages)).toBeUndefined();
    }
  });
});
