import { describe, expect, it } from "vitest";
import { ProviderOptionError } from "../../../../src/providers/provider.js";
import { anAttempt } from "../../../support/attempt-context.js";
import { chat, connectWire, type Json, send, upstreamErrorOf } from "../../../support/wire-upstreams.js";

const settings = { model: "gemini-2.5-flash" };

describe("an upstream of Gemini", () => {
  it("sends to the model's methods", () => {
    const upstream = connectWire("gemini", settings);
    expect(upstream).toMatchObject({
      origin: "https://generativelanguage.googleapis.com",
      host: "generativelanguage.googleapis.com",
    });
    const whole = send("gemini", chat(), settings);
    expect(whole).toMatchObject({ method: "POST", path: "/v1beta/models/gemini-2.5-flash:generateContent" });
    expect(whole.headers).toEqual({
      accept: "application/json",
      "accept-encoding": "identity",
      "content-type": "application/json",
    });
    const streamed = send("gemini", chat({ stream: true }), settings);
    expect(streamed).toMatchObject({
      path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
      headers: { accept: "text/event-stream" },
    });
    expect(streamed.json).not.toHaveProperty("stream");
    expect(upstream.healthProbe).toMatchObject({ method: "GET", path: "/v1beta/models?pageSize=1" });
  });

  it.each([
    ["http://proxy:8000", "/v1beta/models/m:generateContent"],
    ["http://proxy:8000/v1", "/v1/models/m:generateContent"],
    ["http://proxy:8000/google/v1beta", "/google/v1beta/models/m:generateContent"],
  ])("lies below %s", (baseUrl, path) => {
    expect(send("gemini", chat(), { model: "m", baseUrl }).path).toBe(path);
  });

  it.each([
    ["models/gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro:generateContent"],
    ["tunedModels/a", "/v1beta/tunedModels/a:generateContent"],
    ["a/b:c@d", "/v1beta/models/a%2Fb%3Ac%40d:generateContent"],
  ])("S5: has %s as one segment of its path", (model, path) => {
    expect(send("gemini", chat(), { model }).path).toBe(path);
  });

  it.each(["..", "a/../b", "a?b", "a b", "a#b", "ä", "models/"])("S5: has no model %s", (model) => {
    expect(() => connectWire("gemini", { model })).toThrow(expect.objectContaining({ path: "model" }));
    // In a wildcard group it is the caller who names it.
    const wildcard = connectWire("gemini", { model: "*" });
    const encode = () =>
      wildcard.encode({ model: "g", messages: [{ role: "user", content: "Hi" }] }, anAttempt({ model }));
    expect(upstreamErrorOf(encode)).toMatchObject({ errorClass: "not_found", param: "model" });
  });

  it("shows the key in its own header, never in the URL, or as a bearer token", async () => {
    const encoded = send("gemini", chat(), settings);
    const signed = await connectWire("gemini", settings).authorize(encoded, "AIza-1");
    expect(signed.headers).toEqual({ ...encoded.headers, "x-goog-api-key": "AIza-1" });
    expect(signed.path).not.toContain("AIza");
    const bearer = connectWire("gemini", { ...settings, own: { auth: "bearer" } });
    expect((await bearer.authorize(encoded, "ya29")).headers.authorization).toBe("Bearer ya29");
  });

  it.each([
    [{ safetySettings: "off" }, "safetySettings"],
    [{ safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT" }] }, "safetySettings"],
    [{ safetySettings: [{ category: "x", threshold: "OFF" }] }, "safetySettings"],
    [{ safetySettings: [{ category: "A", threshold: "B", more: 1 }] }, "safetySettings"],
    [{ taskType: "documents" }, "taskType"],
    [{ auth: "query" }, "auth"],
  ])("refuses the option %o, naming it", (own: Json, path) => {
    const connect = () => connectWire("gemini", { ...settings, own });
    expect(connect).toThrow(ProviderOptionError);
    expect(connect).toThrow(expect.objectContaining({ path }));
    expect(connect).toThrow(/^(?:Expected|Unknown option in) `/);
  });
});
