import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findAdminRoute, OPERATIONS } from "../../../../src/http/admin/operations.js";

describe("the routes of the management API", () => {
  it("find each operation by its path, with the id decoded", () => {
    for (const { path, method, name } of OPERATIONS) {
      const route = findAdminRoute(path.replace("{id}", "a%40b.c"), "x=1");
      expect(route).toMatchObject({ kind: "route", id: path.includes("{id}") ? "a@b.c" : "" });
      if (route.kind === "route") expect(route.operations.get(method)?.name).toBe(name);
    }
  });

  it("S8, S29: are nothing else", () => {
    for (const path of [
      "",
      "/",
      "/team",
      "/Teams",
      "/teams/a/rotate",
      "/teams/../keys",
      "/constructor",
      "/__proto__/x",
      "/keys/%zz",
    ]) {
      const route = findAdminRoute(path, "");
      expect([path, route.kind === "route" ? route.id : route.kind]).toEqual([path, "unknown"]);
    }
    expect(findAdminRoute("/teams/{id}", "")).toMatchObject({ kind: "route", id: "{id}" });
  });

  it("never throw", () => {
    fc.assert(fc.property(fc.string(), fc.string(), (path, query) => void findAdminRoute(`/${path}`, query)));
  });
});
