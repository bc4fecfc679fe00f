import { describe, expect, it } from "vitest";
import { fileIdIn, idOf, referenceOfField, referenceOfTool } from "../../../src/protocol/account-references.js";
import { checkBody, inputLimitsSchema } from "../../../src/router/input-limits.js";

const limits = inputLimitsSchema.parse({});
const referencesOf = (body: object, allowed: readonly string[] = []) =>
  checkBody(
    "chat.completions",
    { model: "m", messages: [{ role: "user", content: "Hi" }], ...body },
    limits,
    new Set(allowed),
  ).references;
const withPart = (part: object) => ({ messages: [{ role: "user", content: [{ type: "text", text: "Hi" }, part] }] });

describe("what a body refers to by id", () => {
  it("is nothing in a usual one, with tools, images, audio and files by their content", () => {
    const body = {
      messages: [
        { role: "system", content: "Be brief" },
        {
          role: "user",
          content: [
            { type: "text", text: "file_id" },
            { type: "image_url", image_url: { url: "https://example.org/a.png" } },
            { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
            { type: "file", file: { file_data: "data:application/pdf;base64,AAAA", filename: "a.pdf" } },
          ],
        },
        { role: "assistant", content: null, audio: null, tool_calls: [] },
        { role: "user", content: "Go on" },
      ],
      tools: [
        { type: "function", function: { name: "f", parameters: { properties: { file_id: { type: "string" } } } } },
      ],
      metadata: { conversation: "c" },
    };
    expect(referencesOf(body)).toBeUndefined();
  });

  it.each([
    [withPart({ type: "file", file: { file_id: "file-1" } }), "file", "messages[0].content[1].file.file_id", "file-1"],
    [withPart({ type: "container_upload", file_id: "f" }), "file", "messages[0].content[1].file_id", "f"],
    [
      withPart({ type: "document", source: { type: "file", file_id: "file_2" } }),
      "file",
      "messages[0].content[1].source.file_id",
      "file_2",
    ],
    [
      withPart({ type: "file", file: { file_id: "gs://bucket/a.pdf" } }),
      "file",
      expect.any(String),
      "gs://bucket/a.pdf",
    ],
    [
      {
        messages: [
          { role: "assistant", audio: { id: "audio_1" } },
          { role: "user", content: "And?" },
        ],
      },
      "audio",
      "messages[0].audio.id",
      "audio_1",
    ],
    [{ cached_content: "cachedContents/1" }, "cached-content", "cached_content", "cachedContents/1"],
    [{ cachedContent: "cachedContents/1" }, "cached-content", "cachedContent", "cachedContents/1"],
    [{ previous_response_id: "resp_1" }, "response", "previous_response_id", "resp_1"],
    [{ conversation: { id: "conv_1" } }, "conversation", "conversation", "conv_1"],
    [{ container: "container_1" }, "container", "container", "container_1"],
    [
      { tools: [{ type: "file_search", vector_store_ids: ["vs_1"] }] },
      "vector-store",
      "tools[0].vector_store_ids",
      "vs_1",
    ],
    [
      { tools: [{ type: "code_interpreter", container: { type: "auto", file_ids: ["file-3"] } }] },
      "file",
      "tools[0].container.file_ids",
      "file-3",
    ],
    [{ tools: [{ type: "code_interpreter", container: "cntr_1" }] }, "container", "tools[0].container", "cntr_1"],
  ])("%j", (body, kind, param, id) => {
    expect(referencesOf(body)).toEqual([{ kind, param, id }]);
  });

  it("is found where the operator lets Google's own field through", () => {
    const body = { extra_body: { google: { cached_content: "cachedContents/1" } } };
    const expected = [{ kind: "cached-content", param: "extra_body.google.cached_content", id: "cachedContents/1" }];
    expect(referencesOf(body, ["extra_body"])).toEqual(expected);
  });

  it("is no address that everybody can read, but Google's of a file is one", () => {
    expect(fileIdIn({ file_id: "https://www.youtube.com/watch?v=1" })).toBeUndefined();
    const held = "https://generativelanguage.googleapis.com/v1beta/files/abc";
    expect(fileIdIn({ file_id: held })).toBe(held);
  });

  it("is no id where there is none", () => {
    expect([idOf(null), idOf(""), idOf(7), idOf({ id: 7 }), idOf([])]).toEqual(Array(5).fill(undefined));
    expect([fileIdIn("file_id"), fileIdIn({ file_id: "" }), fileIdIn(null)]).toEqual(Array(3).fill(undefined));
    expect(referenceOfField("extra_body", "x")).toBeUndefined();
    expect(referenceOfField("user", "u")).toBeUndefined();
    expect(referenceOfTool({ vector_store_ids: [] }, "tools[0]")).toBeUndefined();
  });

  it("is several things in the order in which they stand", () => {
    const body = { ...withPart({ type: "file", file: { file_id: "a" } }), cached_content: "c" };
    expect(referencesOf(body)?.map(({ id }) => id)).toEqual(["a", "c"]);
  });
});
