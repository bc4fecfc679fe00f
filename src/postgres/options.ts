import { type OptionIssue, OptionIssues } from "../internal/option-issues.js";

export interface PostgresOptions {
  /** Where the tables are: up to 63 lower-case letters, digits and underscores. @default "switchyard" */
  readonly schema?: string | undefined;
}

/** @returns the options, and what is wrong with them but the schema's name itself. */
export function parsePostgresOptions(options: unknown): { schema: string; issues: readonly OptionIssue[] } {
  const issues = new OptionIssues(new Map());
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    issues.addWrongValue(["options"], "an object", options);
    return { schema: DEFAULT_SCHEMA, issues: issues.list };
  }
  const { schema = DEFAULT_SCHEMA, ...others }: PostgresOptions = options;
  for (const name of Object.keys(others)) issues.addUnknownOption([name], ["schema"]);
  return { schema, issues: issues.list };
}

const DEFAULT_SCHEMA = "switchyard";
