import { describe, expect, it } from "vitest";
import { connectionFault, type FaultStage } from "../../../src/transport/connection-fault.js";

const ORIGIN = "https://api.example.com:8443";

const coded = (code: string, message = "secret bytes") => Object.assign(new Error(message), { code });

describe("connectionFault", () => {
  it.each<[code: string, stage: FaultStage, message: string]>([
    ["ECONNREFUSED", "connect", "connection refused by api.example.com:8443"],
    ["ENOTFOUND", "connect", "the name of api.example.com:8443 cannot be resolved (ENOTFOUND)"],
    ["EHOSTUNREACH", "connect", "there is no route to api.example.com:8443 (EHOSTUNREACH)"],
    ["ETIMEDOUT", "connect", "the connection to api.example.com:8443 timed out"],
    ["ECONNRESET", "connect", "api.example.com:8443 closed the connection before a request was sent"],
    ["ECONNRESET", "answer", "api.example.com:8443 closed the connection before it answered"],
    ["UND_ERR_SOCKET", "body", "api.example.com:8443 closed the connection in the middle of its answer"],
    [
      "UND_ERR_RES_CONTENT_LENGTH_MISMATCH",
      "body",
      "api.example.com:8443 closed the connection in the middle of its answer",
    ],
    ["HPE_INVALID_EOF_STATE", "body", "api.example.com:8443 closed the connection in the middle of its answer"],
    ["HPE_INVALID_CHUNK_SIZE", "body", "the answer of api.example.com:8443 is not valid HTTP"],
    ["CERT_HAS_EXPIRED", "connect", "TLS with api.example.com:8443 failed (CERT_HAS_EXPIRED)"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "connect", "TLS with api.example.com:8443 failed (ERR_TLS_CERT_ALTNAME_INVALID)"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "connect", "TLS with api.example.com:8443 failed (DEPTH_ZERO_SELF_SIGNED_CERT)"],
    ["SOMETHING_NEW", "answer", "the connection to api.example.com:8443 failed before it answered (SOMETHING_NEW)"],
  ])("%s (%s) is unreachable", (code, stage, message) => {
    const fault = connectionFault(coded(code), ORIGIN, stage);
    expect(fault).toMatchObject({ message, errorClass: "network", isBadResponse: false });
  });

  it("S32: too many headers are a bad response", () => {
    const fault = connectionFault(coded("UND_ERR_HEADERS_OVERFLOW"), ORIGIN, "answer");
    expect(fault).toMatchObject({ errorClass: "network", isBadResponse: true });
  });

  it("knows errors of undici's parser, which often have no code", () => {
    const parserError = Object.assign(new Error("secret bytes"), { name: "HTTPParserError", code: undefined });
    for (const thrown of [parserError, new TypeError("terminated", { cause: parserError })]) {
      expect(connectionFault(thrown, ORIGIN, "body").message).toBe(
        "the answer of api.example.com:8443 is not valid HTTP",
      );
    }
  });

  it("finds the code that fetch wraps", () => {
    const wrapped = new TypeError("fetch failed", { cause: new Error("x", { cause: coded("ECONNREFUSED") }) });
    expect(connectionFault(wrapped, ORIGIN, "answer").message).toBe("connection refused by api.example.com:8443");
  });

  it("S18: keeps everything but a code-shaped code to itself", () => {
    const thrown = [
      coded("HPE_INVALID_TOKEN", "sk-secret"),
      coded("sk-secret with blanks"),
      new Error("sk-secret"),
      "sk-secret",
      undefined,
      Object.assign(new Error("x"), { code: 7, data: "sk-secret" }),
    ];
    for (const error of thrown) {
      const fault = connectionFault(error, ORIGIN, "answer");
      expect(`${fault.message} ${fault.cause}`).not.toContain("sk-secret");
      expect(fault.errorClass).toBe("network");
    }
  });

  it("ends with errors that are their own cause", () => {
    const circular = new Error("round");
    circular.cause = circular;
    expect(connectionFault(circular, ORIGIN, "answer").errorClass).toBe("network");
  });
});
