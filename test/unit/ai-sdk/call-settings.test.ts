import { describe, expect, it } from "vitest";
import { callSettings } from "../../../src/ai-sdk/provider/call-settings.js";

describe("what a call of the SDK says to the router", () => {
  const settings = { principal: { team: "search" }, sessionId: "shared", cache: { noCache: true } };

  it("is the model's settings, and over them what the single call says", () => {
    expect(callSettings(settings, undefined, undefined).options).toEqual(settings);
    const switchyard = { sessionId: "chat-17", cache: false, tags: ["one"], require: { region: "eu" } };
    expect(callSettings(settings, { switchyard }, undefined).options).toEqual({ ...settings, ...switchyard });
  });

  it.each(["principal", "priority", "signal", "explain", "sesionId"])(
    "does not take `%s` from a single call",
    (name) => {
      const call = () => callSettings(settings, { switchyard: { [name]: "interactive" } }, undefined);
      expect(call).toThrow(new RegExp(`\`${name}\` is unknown .* expected tags, .*, sessionId, cache, body`));
    },
  );
});
