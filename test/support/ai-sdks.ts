import * as ai6 from "ai";
import * as ai5 from "ai-v5";
import * as ai7 from "ai-v7";
import type { SpecificationVersion } from "../../src/ai-sdk/index.js";

/** What the tests use of the package `ai`, typed as in version 6. */
type Sdk = Pick<
  typeof ai6,
  "generateText" | "streamText" | "embed" | "embedMany" | "tool" | "Output" | "stepCountIs" | "APICallError"
>;

interface SdkUnderTest {
  readonly way: string;
  readonly sdk: Sdk;
  /** Of the models that this version is given. */
  readonly specification: SpecificationVersion;
  /** What this version calls the option, and the member of the result, for structured output. */
  readonly output: "output" | "experimental_output";
}

// The SDK would tell on the console about settings that a deployment does not know.
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false });

// The functions take and give the same things in all versions, as far as the tests look; their types have other names.
const typedAs6 = (sdk: object) => sdk as unknown as Sdk;

/** The versions of the package `ai` that models of this library are for, each with the models that it takes. */
export const sdks: readonly SdkUnderTest[] = [
  { way: "ai 5, models of v2", sdk: typedAs6(ai5), specification: "v2", output: "experimental_output" },
  { way: "ai 6, models of v3", sdk: typedAs6(ai6), specification: "v3", output: "output" },
  {
    way: "ai 7, models of v3",
    sdk: typedAs6({ ...ai7, stepCountIs: ai7.isStepCount }),
    specification: "v3",
    output: "output",
  },
  {
    way: "ai 7, models of v4",
    sdk: typedAs6({ ...ai7, stepCountIs: ai7.isStepCount }),
    specification: "v4",
    output: "output",
  },
];
