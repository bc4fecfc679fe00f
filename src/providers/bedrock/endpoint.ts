import { ProviderOptionError, type ProviderSettings } from "../provider.js";
import { parseBaseUrl } from "../shared/base-url.js";

/** Where one deployment's requests go, and the region that they are signed for. */
export interface Endpoint {
  readonly origin: string;
  readonly host: string;
  /** Of all paths. */
  readonly prefix: string;
  readonly region: string;
  /** Of the service that lists models; `undefined` where only the runtime is known. */
  readonly controlOrigin: string | undefined;
}

const REGION = /^[a-z]{2}(?:-[a-z]+){1,3}-\d{1,2}$/;
/** AWS' own addresses, FIPS and those inside private networks included. */
const RUNTIME_HOST = /(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\./;

/**
 * Finds the address by the region, or the region by the address.
 * @throws {ProviderOptionError} the region is missing or is none.
 */
export function endpointOf({ baseUrl, region }: ProviderSettings): Endpoint {
  const base = baseUrl === undefined ? undefined : parseBaseUrl(baseUrl);
  const named = base && RUNTIME_HOST.exec(base.host)?.[1];
  // The address is where requests go: `region` may then be a label of the deployment's owner.
  const signed = named ?? region;
  if (signed === undefined) {
    throw new ProviderOptionError("region", "Expected `region`, such as us-east-1: AWS has an address for each.");
  }
  if (!REGION.test(signed)) {
    throw new ProviderOptionError(
      "region",
      `Expected \`region\` to be one of AWS, such as us-east-1, or a \`baseUrl\` that names it; got ${JSON.stringify(signed)}.`,
    );
  }
  if (base) {
    const isPublic = /^bedrock-runtime\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/.test(base.host);
    const controlOrigin = isPublic ? base.origin.replace("//bedrock-runtime.", "//bedrock.") : undefined;
    return { origin: base.origin, host: base.host, prefix: base.path, region: signed, controlOrigin };
  }
  const domain = signed.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  const host = `bedrock-runtime.${signed}.${domain}`;
  const controlOrigin = `https://bedrock.${signed}.${domain}`;
  return { origin: `https://${host}`, host, prefix: "", region: signed, controlOrigin };
}
