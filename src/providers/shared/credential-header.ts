import { UpstreamError } from "../../errors/upstream-error.js";
import type { EncodedRequest } from "../provider.js";

type Headers = EncodedRequest["headers"];

/** Puts a deployment's credential into a header, and remembers the headers that it made with the last one. */
export class CredentialHeader {
  #lastKey: string | undefined;
  /** With the credential, by the headers without it. Dialects send the same few objects again and again. */
  #made = new WeakMap<Headers, Headers>();

  /**
   * @param name - In lower case.
   * @param prefix - Before the key: `Bearer `.
   */
  constructor(
    private readonly name: string,
    private readonly prefix = "",
  ) {}

  /** @throws {UpstreamError} class `authentication`: no header may carry this key. */
  addTo(request: EncodedRequest, apiKey: string | undefined): EncodedRequest {
    if (apiKey === undefined) return request;
    if (this.#lastKey !== apiKey) {
      if (!/^[\x21-\x7e]+$/.test(apiKey)) {
        throw new UpstreamError("the API key has characters that no header may carry", {
          errorClass: "authentication",
        });
      }
      this.#lastKey = apiKey;
      this.#made = new WeakMap();
    }
    let headers = this.#made.get(request.headers);
    if (!headers) {
      headers = { ...request.headers, [this.name]: this.prefix + apiKey };
      this.#made.set(request.headers, headers);
    }
    return { ...request, headers };
  }
}
