import { z } from "zod";
import { isBudgetPeriod } from "../stores/budget-period.js";
import type {
  Allowance,
  BudgetPeriod,
  FieldsOf,
  KeyFields,
  Level,
  OrganizationFields,
  TeamFields,
  UserFields,
} from "./entries.js";
import { PATTERN } from "./patterns.js";

/** The most that can be counted exactly in nano-USD (R18). */
const MOST_USD = 9_000_000;
/** 1 January 2000 and 2200: what lies outside was not meant as milliseconds. */
const [EARLIEST, LATEST] = [946_684_800_000, 7_258_118_400_000];

const integer = (most: number) => z.int().min(1).max(most).optional();
const usd = z.number().min(0).max(MOST_USD).optional();
// Control characters would end up in logs and reports.
const text = (longest: number) =>
  z
    .string()
    .min(1)
    .max(longest)
    .regex(/^[^\p{Cc}\u2028\u2029]*$/u, "expected a text without control characters")
    .optional();

export const ID_TEXT = "expected 1–128 characters of `A-Za-z0-9._:@-`, not dots alone";

/** Ids are addressed as `/users/:id`: dots alone would be a step in the path. */
export const ID = /^(?!\.+$)[A-Za-z0-9._:@-]{1,128}$/;
export const idSchema = z.string().regex(ID, ID_TEXT);

const allowanceShape = {
  rpm: integer(1_000_000_000),
  tpm: integer(1_000_000_000_000),
  maxParallel: integer(1_000_000),
  budgetUsd: usd,
  softBudgetUsd: usd,
  budgetPeriod: z
    .custom<BudgetPeriod>(
      isBudgetPeriod,
      'expected "day", "week", "month", "total", or a rolling period such as "24h" or "30d", at most ten years',
    )
    .optional(),
};

const isAllowanceSound = ({ budgetUsd, softBudgetUsd }: Allowance) =>
  budgetUsd === undefined || softBudgetUsd === undefined || softBudgetUsd <= budgetUsd;
const UNSOUND_BUDGETS = {
  message: "expected at most `budgetUsd`: above the hard budget nothing is left to warn of",
  path: ["softBudgetUsd"],
};

const patternText = (mayDeny: boolean) =>
  `expected a name or pattern of a model: 1–256 letters, digits and \`._:@/-\`, with any number of \`*\`${mayDeny ? ", after `!` to deny" : ""}`;

const models = z
  .array(z.string().refine((value) => PATTERN.test(value.replace(/^!/, "")), patternText(true)))
  .max(1_000)
  .refine(
    (patterns) => patterns.length === 0 || patterns.some((value) => !value.startsWith("!")),
    'cannot allow anything, for it only denies: add what is allowed, such as "*"',
  )
  .optional();

/** Of an object whose keys are the user's: at most so many, each one right. */
const keys =
  (most: number, what: string, isKey: (key: string) => boolean, expected: string) =>
  (value: Readonly<Record<string, unknown>>, context: z.RefinementCtx) => {
    const names = Object.keys(value);
    if (names.length > most) context.addIssue(`expected at most ${most} ${what}`);
    const wrong = names.slice(0, most).filter((name) => !isKey(name));
    for (const name of wrong)
      context.addIssue({ code: "custom", path: [name], message: `is not fit to be a key: ${expected}` });
  };

const permissionsShape = {
  ...allowanceShape,
  models,
  modelLimits: z
    .record(z.string(), z.strictObject(allowanceShape).refine(isAllowanceSound, UNSOUND_BUDGETS))
    .superRefine(keys(100, "patterns", (key) => PATTERN.test(key), patternText(false)))
    .optional(),
  blocked: z.boolean().optional(),
  expiresAt: z
    .int("expected Unix milliseconds, an integer")
    .refine((at) => at >= EARLIEST && at <= LATEST, "expected Unix milliseconds of the years 2000 to 2200")
    .optional(),
  metadata: z
    .record(z.string(), z.string().max(512))
    .superRefine(keys(16, "pairs", (key) => /^.{1,64}$/u.test(key), "expected 1–64 characters"))
    .optional(),
  tags: z.array(text(512).unwrap()).max(16).optional(),
  name: text(256),
};

const reference = idSchema.optional();

/** What callers may state of an entry of each level, field by field. */
export const fieldShapes = {
  organization: permissionsShape,
  team: { ...permissionsShape, organization: reference },
  user: {
    ...permissionsShape,
    organization: reference,
    teams: z
      .array(idSchema)
      .max(100)
      .refine((teams) => new Set(teams).size === teams.length, "cannot name a team twice")
      .optional(),
  },
  key: { ...permissionsShape, organization: reference, team: reference, user: reference },
} satisfies Record<Level, z.ZodRawShape>;

/** What callers may state of an entry of each level. */
export const fieldSchemas: { readonly [L in Level]: z.ZodType<FieldsOf[L]> } = {
  organization: z.strictObject(fieldShapes.organization).refine(isAllowanceSound, UNSOUND_BUDGETS) satisfies z.ZodType<
    OrganizationFields,
    unknown
  >,
  team: z.strictObject(fieldShapes.team).refine(isAllowanceSound, UNSOUND_BUDGETS) satisfies z.ZodType<
    TeamFields,
    unknown
  >,
  user: z.strictObject(fieldShapes.user).refine(isAllowanceSound, UNSOUND_BUDGETS) satisfies z.ZodType<
    UserFields,
    unknown
  >,
  key: z.strictObject(fieldShapes.key).refine(isAllowanceSound, UNSOUND_BUDGETS) satisfies z.ZodType<
    KeyFields,
    unknown
  >,
};

/** The names of those fields. */
export const fieldNames: { readonly [L in Level]: readonly string[] } = {
  organization: Object.keys(fieldShapes.organization),
  team: Object.keys(fieldShapes.team),
  user: Object.keys(fieldShapes.user),
  key: Object.keys(fieldShapes.key),
};
