import { describe, expect, it } from "vitest";
import { type RouterError, routerError } from "../../../src/errors/router-error.js";
import { type AuthenticateRequest, authenticateRequest } from "../../../src/http/authenticate.js";
import type { HttpRequest } from "../../../src/http/http-request.js";
import type { Principal } from "../../../src/plugins/plugin.js";
import { virtualClock } from "../../../src/testing/virtual-clock.js";

function setup(headers: Record<string, string> = {}, repeated: readonly string[] = []) {
  const clock = virtualClock();
  const controller = new AbortController();
  const request = {
    method: "POST",
    principal: undefined,
    isGone: false,
    signal: controller.signal,
    cancellation: undefined,
    header: (name: string) => headers[name],
    repeatsHeader: (name: string) => repeated.includes(name),
    readBody: () => {
      throw new Error("the body was read before authentication");
    },
  } satisfies HttpRequest;
  const run = (authenticate: (request: AuthenticateRequest) => unknown) =>
    authenticateRequest(
      authenticate as (request: AuthenticateRequest) => Principal, // also functions that return junk
      request,
      "chat.completions",
      clock,
      5_000,
    );
  const seen = async () => {
    let given: AuthenticateRequest | undefined;
    await run((authenticateRequest) => {
      given = authenticateRequest;
      return {};
    });
    return given;
  };
  return { clock, controller, run, seen };
}
const refusal = { code: "invalid_api_key", message: "The API key is missing or not valid.", status: 401 };

describe("authentication", () => {
  it("hands over who is calling, with a promise or without", async () => {
    const { run, clock } = setup();
    expect(await run(() => ({ user: "u" }))).toEqual({ user: "u" });
    expect(await run(async () => ({ user: "u" }))).toEqual({ user: "u" });
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    [{ authorization: "Bearer sk-1" }, "sk-1"],
    [{ authorization: "bearer   sk-1 " }, "sk-1"],
    [{ "api-key": "sk-1" }, "sk-1"],
    [{ "x-api-key": " sk-1 " }, "sk-1"],
    [{ authorization: "Bearer sk-1", "api-key": "sk-1", "x-api-key": "sk-1" }, "sk-1"],
    [{ authorization: "Basic dTpw" }, undefined],
    [{ authorization: "Bearer" }, undefined],
    [{ authorization: "" }, undefined],
    [{}, undefined],
  ])("finds the one credential of %j", async (headers, apiKey) => {
    expect((await setup(headers as Record<string, string>).seen())?.apiKey).toBe(apiKey);
  });

  it.each([
    [{ authorization: "Bearer sk-1", "api-key": "sk-2" }],
    [{ "api-key": "sk-1", "x-api-key": "sk-2" }],
    [{ authorization: "Basic dTpw", "x-api-key": "sk-1" }],
    [{ authorization: "Bearer sk-1, Bearer sk-2" }],
    [{ authorization: "Bearer sk-1, Bearer sk-1" }],
    [{ authorization: 'Digest username="u", Bearer sk-2' }],
    [{ "x-api-key": "sk-1, sk-1" }],
    [{ authorization: "Bearer sk-1", "api-key": "" }],
  ])("S9: refuses carriers that repeat or disagree: %j", async (headers) => {
    const { run } = setup(headers as Record<string, string>);
    let isAsked = false;
    const answer = run(() => {
      isAsked = true;
      return {};
    });
    await expect(answer).rejects.toMatchObject(refusal);
    expect(isAsked).toBe(false);
  });

  it.each(["authorization", "api-key", "x-api-key"])("S9: refuses a repeated %s", async (name) => {
    await expect(setup({ [name]: "Bearer sk-1" }, [name]).run(() => ({}))).rejects.toMatchObject(refusal);
  });

  it("leaves other schemes to the host, commas included", async () => {
    const authorization = 'Signature keyId="a",signature="b"';
    expect((await setup({ authorization }).seen())?.headers.get("Authorization")).toBe(authorization);
  });

  it("shows method, route and headers, and nothing that can be changed", async () => {
    const request = await setup({ "x-team": "a" }).seen();
    expect(request).toMatchObject({ method: "POST", route: "chat.completions" });
    expect(request?.headers.get("X-Team")).toBe("a");
    expect(request?.headers.get("x-other")).toBeNull();
    expect(Object.isFrozen(request)).toBe(true);
    expect(Object.isFrozen(request?.headers)).toBe(true);
  });

  it.each([
    ["an error", () => Promise.reject(new Error("key sk-1 is revoked"))],
    [
      "an error at once",
      () => {
        throw new Error("key sk-1 is revoked");
      },
    ],
    [
      "a refusal in its own words",
      () => Promise.reject(routerError("invalid_api_key", { message: "sk-1 is expired" })),
    ],
    ["nothing", () => undefined],
    ["null", async () => null],
    ["true", () => true],
  ])("S15: refuses with the same words after %s", async (_what, authenticate) => {
    const error: unknown = await setup()
      .run(authenticate)
      .catch((error: unknown) => error);
    expect(error).toMatchObject(refusal);
    expect(error).not.toHaveProperty("cause");
  });

  it("keeps the code of a RouterError", async () => {
    const error = routerError("permission_denied", { message: "Not on weekends." });
    await expect(setup().run(() => Promise.reject(error))).rejects.toBe(error);
  });

  it("R7: refuses when the answer takes too long", async () => {
    const { run, clock } = setup();
    const answer = run(() => new Promise(() => {}));
    const refused = answer.catch((error: RouterError) => error.code);
    await clock.advance(4_999);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(1);
    expect(await refused).toBe("invalid_api_key");
    expect(clock.pendingTimers).toBe(0);
  });

  it("stops waiting when the client leaves", async () => {
    const { run, clock, controller } = setup();
    const answer = run(({ signal }) => {
      expect(signal).toBe(controller.signal);
      return new Promise(() => {});
    });
    controller.abort();
    await expect(answer).rejects.toMatchObject({ code: "cancelled" });
    expect(clock.pendingTimers).toBe(0);
  });

  it("R8: survives an answer that comes too late", async () => {
    const { run, controller } = setup();
    let fail = (_error: Error) => {};
    const answer = run(
      () =>
        new Promise((_resolve, reject) => {
          fail = reject;
        }),
    );
    controller.abort();
    await expect(answer).rejects.toMatchObject({ code: "cancelled" });
    fail(new Error("late"));
  });
});
