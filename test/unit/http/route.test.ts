import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findRoute } from "../../../src/http/route.js";

const nameOf = (target: string, basePath = "/v1", mountPath = "") => {
  const route = findRoute(target, basePath, mountPath);
  return route.kind === "route" ? route.name : route.kind;
};
const modelOf = (target: string) => {
  const route = findRoute(target, "/v1", "");
  return route.kind === "route" ? route.modelId : route.kind;
};

describe("finding a route", () => {
  it.each([
    ["/v1/chat/completions", "chat.completions"],
    ["/v1/completions", "completions"],
    ["/v1/embeddings", "embeddings"],
    ["/v1/models", "models.list"],
    ["/v1/models/chat", "models.retrieve"],
    ["/v1/health/live", "health.live"],
    ["/v1/health/ready", "health.ready"],
  ])("knows %s", (target, name) => {
    expect(nameOf(target)).toBe(name);
  });

  it("ignores the query and one trailing slash", () => {
    expect(nameOf("/v1/chat/completions?api-version=1")).toBe("chat.completions");
    expect(nameOf("/v1/chat/completions/")).toBe("chat.completions");
    expect(nameOf("/v1/models/?limit=1")).toBe("models.list");
    expect(nameOf("/v1/models#top")).toBe("models.list");
  });

  it("S8: reads the path of an absolute target and never its authority", () => {
    expect(nameOf("http://other.example/v1/models")).toBe("models.list");
    expect(nameOf("HTTPS://user:secret@[::1]:8443/v1/models?x=http://y/v1/completions")).toBe("models.list");
    expect(nameOf("http://host/v1")).toBe("unknown");
    expect(nameOf("http://v1/models")).toBe("outside");
    expect(nameOf("http://host?/v1/models")).toBe("outside");
  });

  it.each([
    "/v1//models",
    "/v1/./models",
    "/v1/../v1/models",
    "/v1/chat/../models",
    "/v1/chat//completions",
    "/v1/models//",
    "/v1/%6dodels",
    "/v1/chat%2Fcompletions",
    "/v1/Models",
    "/v1/constructor",
    "/v1/__proto__",
    "/v1",
    "/v1/",
    "/v1/chat",
    "/v1/health",
  ])("S8: resolves nothing and refuses %s", (target) => {
    expect(nameOf(target)).toBe("unknown");
  });

  it.each([
    "/",
    "",
    "*",
    "/v1x/models",
    "/v2/models",
    "//v1/models",
    "/V1/models",
    "host:443",
    "v1/models",
    "ftp://h/v1/models",
  ])("leaves %j to others", (target) => {
    expect(nameOf(target)).toBe("outside");
  });

  it("takes model ids raw and percent-encoded", () => {
    expect(modelOf("/v1/models/openai/gpt-4o:latest")).toBe("openai/gpt-4o:latest");
    expect(modelOf("/v1/models/openai%2Fgpt-4o%3Alatest")).toBe("openai/gpt-4o:latest");
    expect(modelOf("/v1/models/m%C3%BCller/")).toBe("müller");
    expect(modelOf("/v1/models/%E0%A4%A")).toBe("unknown");
    expect(modelOf("/v1/models/100%")).toBe("unknown");
  });

  it("takes any base path, also none", () => {
    expect(nameOf("/llm/api/models", "/llm/api")).toBe("models.list");
    expect(nameOf("/models", "")).toBe("models.list");
    expect(nameOf("/v1/models", "")).toBe("unknown");
  });

  it("accepts a mount that the host's router has taken off", () => {
    expect(nameOf("/models", "/v1", "/v1")).toBe("models.list");
    expect(nameOf("/models", "/v1", "/api/v1/")).toBe("models.list");
    expect(nameOf("/v1/models", "/v1", "/api")).toBe("models.list");
    expect(nameOf("/models", "", "/anything")).toBe("models.list");
    expect(nameOf("/models", "/v1", "/api")).toBe("outside");
    expect(nameOf("/v1/models", "/v1", "/v1")).toBe("unknown");
    expect(nameOf("/models", "/v1", "/apiv1")).toBe("outside");
  });

  it("R8: takes any text for a target without throwing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (target) => {
        findRoute(target, "/v1", "");
        findRoute(`/v1/models/${target}`, "/v1", "");
      }),
    );
  });
});
