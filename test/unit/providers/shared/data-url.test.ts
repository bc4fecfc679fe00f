import { describe, expect, it } from "vitest";
import { parseDataUrl } from "../../../../src/providers/shared/data-url.js";

const taken = (url: string) => {
  const data = parseDataUrl(url);
  return data && [data.mediaType, data.base64(), data.text()];
};

describe("data URLs", () => {
  it.each([
    ["data:image/png;base64,iVBO", ["image/png", "iVBO", expect.any(String)]],
    ["DATA:Image/PNG;charset=x;BASE64,aGk=", ["image/png", "aGk=", "hi"]],
    ["data:text/plain;charset=utf-8,Gr%C3%BC%C3%9Fe", ["text/plain", "R3LDvMOfZQ==", "Grüße"]],
    ["data:text/plain;base64,R3LDvMOfZQ==", ["text/plain", "R3LDvMOfZQ==", "Grüße"]],
    ["data:,a%20b", ["text/plain", "YSBi", "a b"]],
    ["data:text/csv,a,b", ["text/csv", "YSxi", "a,b"]],
  ])("%s", (url, expected) => {
    expect(taken(url)).toEqual(expected);
  });

  it.each(["https://h/a,b", "data:image/png;base64", `data:${"x".repeat(300)},y`, "", " data:,x"])(
    "are not %s",
    (url) => {
      expect(taken(url)).toBeUndefined();
    },
  );

  it("have no content where its encoding is broken", () => {
    expect(taken("data:text/plain,%zz")).toEqual(["text/plain", undefined, undefined]);
    expect(parseDataUrl("data:text/plain;base64,*")?.text()).toBeUndefined();
  });
});
