import { z } from "zod";
import { Secret } from "../../internal/secret.js";
import { ProviderOptionError, type ProviderSettings } from "../provider.js";
import { parseOwnOptions } from "../shared/own-options.js";

/** Keys of AWS, as the credential providers of its SDK give them. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  /** They are kept until shortly before; without it they are asked for again for each attempt. */
  readonly expiration?: Date | undefined;
}

/** Gets keys: `fromIni()`, `fromNodeProviderChain()` and the others of `@aws-sdk/credential-providers` fit. */
export type AwsCredentialProvider = () => AwsCredentials | Promise<AwsCredentials>;

/** What only deployments of Bedrock have. `apiKey` is a Bedrock API key, `region` the region of AWS. */
export interface BedrockOptions {
  /** Id of an access key, with `secretAccessKey`, instead of `apiKey`. */
  readonly accessKeyId?: string | undefined;
  /** The access key's secret. */
  readonly secretAccessKey?: string | undefined;
  /** Of temporary keys. */
  readonly sessionToken?: string | undefined;
  /** Gets keys for each attempt, also asynchronously, instead of `accessKeyId` and `secretAccessKey`. */
  readonly credentials?: AwsCredentialProvider | undefined;
  /** Id of the model behind an ARN that does not name it: what a model takes is known by its id. */
  readonly baseModel?: string | undefined;
  /** A guardrail of the account's, which checks each chat; callers cannot change it. */
  readonly guardrail?: { readonly identifier: string; readonly version: string } | undefined;
  /** What embeddings are for, where the model asks and the request has no `input_type`. @default "search_document" */
  readonly inputType?: InputType | undefined;
}

export const INPUT_TYPES = ["search_document", "search_query", "classification", "clustering"] as const;
export type InputType = (typeof INPUT_TYPES)[number];

/** A key's parts go into a header, or are none. */
const keyText = (what: string) => {
  const expected = `${what}, 4 to 16384 printable ASCII characters without blanks`;
  return z.string(expected).regex(/^[\x21-\x7e]{4,16384}$/, expected);
};

const guardrailText = (what: string) => z.string(what).min(1, what).max(2_048, what);

const schema = z.strictObject({
  accessKeyId: keyText("the id of an access key").optional(),
  secretAccessKey: keyText("the secret of an access key").optional(),
  sessionToken: keyText("a session token").optional(),
  credentials: z
    .custom<AwsCredentialProvider>((value) => typeof value === "function", "a function that returns keys")
    .optional(),
  baseModel: z
    .string("the id of a model")
    .regex(/^[A-Za-z0-9._:-]{1,256}$/, "the id of a model")
    .optional(),
  guardrail: z
    .strictObject(
      {
        identifier: guardrailText("the id or ARN of a guardrail"),
        version: guardrailText("a version such as 1 or DRAFT, as text"),
      },
      "an object of `identifier` and `version`",
    )
    .optional(),
  inputType: z.enum(INPUT_TYPES, `one of ${INPUT_TYPES.join(", ")}`).default("search_document"),
}) satisfies z.ZodType<unknown, BedrockOptions>;

export const bedrockOptionNames: readonly string[] = Object.keys(schema.shape);

/** Keys that configuration gives. */
export interface FixedKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
}

/** The options, checked and complete. */
export interface BedrockSettings {
  /** How requests are signed; `undefined`: they carry the deployment's `apiKey`. */
  readonly keys: FixedKeys | AwsCredentialProvider | undefined;
  readonly baseModel: string | undefined;
  readonly guardrail: BedrockOptions["guardrail"];
  readonly inputType: InputType;
}

/** @throws {ProviderOptionError} an option is wrong, or the credential is missing or given twice. */
export function bedrockSettings({ own, hasApiKey }: ProviderSettings): BedrockSettings {
  const { accessKeyId, secretAccessKey, sessionToken, credentials, ...others } = parseShown(own);
  const refuse = (option: string, message: string) => new ProviderOptionError(option, message);
  const hasKeys = accessKeyId !== undefined || secretAccessKey !== undefined || sessionToken !== undefined;
  if (hasKeys && (accessKeyId === undefined || secretAccessKey === undefined)) {
    const missing = accessKeyId === undefined ? "accessKeyId" : "secretAccessKey";
    throw refuse(missing, `Expected \`${missing}\`: an access key is an id and its secret.`);
  }
  const given = [hasApiKey && "apiKey", hasKeys && "accessKeyId", credentials && "credentials"].filter(Boolean);
  if (given.length > 1) {
    throw refuse(String(given[1]), `Expected one kind of credential, received \`${given.join("` and `")}\`.`);
  }
  if (given.length === 0 && hasApiKey === false) {
    throw refuse("apiKey", "Expected `apiKey`, or `accessKeyId` and `secretAccessKey`, or `credentials`.");
  }
  const fixed: FixedKeys | undefined =
    accessKeyId !== undefined && secretAccessKey !== undefined
      ? {
          accessKeyId,
          secretAccessKey: new Secret(secretAccessKey),
          sessionToken: sessionToken === undefined ? undefined : new Secret(sessionToken),
        }
      : undefined;
  const { baseModel, guardrail, inputType } = others;
  return { keys: fixed ?? credentials, baseModel, guardrail, inputType };
}

/** Credentials are not repeated in messages (S18): what is wrong with one is said without its value. */
function parseShown(own: ProviderSettings["own"]): z.output<typeof schema> {
  for (const name of ["accessKeyId", "secretAccessKey", "sessionToken", "credentials"] as const) {
    const result = schema.shape[name].safeParse(own[name]);
    if (result.success) continue;
    const expected = result.error.issues[0]?.message;
    throw new ProviderOptionError(name, `Expected \`${name}\` to be ${expected}.`);
  }
  return parseOwnOptions(schema, own);
}
