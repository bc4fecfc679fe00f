import { z } from "zod";
import { LEVELS, type Level } from "../../access/entries.js";
import { type AdminOperation, OPERATIONS, SECTIONS } from "./operations.js";
import {
  budgetsReply,
  createBodies,
  createdKeyReply,
  deletedReply,
  emptyBody,
  entriesQuery,
  entryReplies,
  errorReplySchema,
  listQueries,
  noQuery,
  pageReplies,
  reportQuery,
  reportReply,
  rotateBody,
  updateBodies,
  versionBody,
} from "./schemas.js";

type Json = Record<string, unknown>;

const NAMES: Readonly<Record<Level, string>> = { organization: "Organization", team: "Team", user: "User", key: "Key" };

/** Every schema that has a name of its own in the document. */
const COMPONENTS: readonly (readonly [string, z.ZodType])[] = [
  ...LEVELS.flatMap((level) => [
    [NAMES[level], entryReplies[level]] as const,
    [`${NAMES[level]}Page`, pageReplies[level]] as const,
    [`New${NAMES[level]}`, createBodies[level]] as const,
    [`${NAMES[level]}Change`, updateBodies[level]] as const,
  ]),
  ["Version", versionBody],
  ["Rotation", rotateBody],
  ["Nothing", emptyBody],
  ["CreatedKey", createdKeyReply],
  ["Deleted", deletedReply],
  ["Budgets", budgetsReply],
  ["SpendReport", reportReply],
  ["Error", errorReplySchema],
];

const documents = new Map<string, Json>();

/** The management routes as an OpenAPI 3.1 document, from the schemas that requests are checked with. */
export function openApiDocument(basePath: string): Json {
  const known = documents.get(basePath);
  if (known) return known;
  const paths: Record<string, Json> = {};
  for (const operation of OPERATIONS)
    (paths[operation.path] ??= {})[operation.method.toLowerCase()] = described(operation);
  const document: Json = {
    openapi: "3.1.0",
    info: {
      title: "Switchyard management",
      version: "1",
      description: "Organizations, teams, users, virtual keys, their budgets, and what was spent.",
    },
    servers: [{ url: basePath === "" ? "/" : basePath }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "Whatever the host's `authorize` takes." },
      },
      schemas: componentSchemas(),
    },
  };
  documents.set(basePath, document);
  return document;
}

function described(operation: AdminOperation): Json {
  const { name, summary, path, roles, method } = operation;
  const id = { name: "id", in: "path", required: true, schema: { type: "string" } };
  const body = bodyOf(operation);
  return {
    operationId: name,
    summary,
    description: `Roles: ${roles.join(", ")}.`,
    tags: [operation.kind === "entry" ? SECTIONS[operation.level] : operation.kind === "openapi" ? "openapi" : "spend"],
    parameters: [...(path.includes("{id}") ? [id] : []), ...parametersOf(queryOf(operation))],
    ...(body && {
      requestBody: { required: name.endsWith(".update"), content: { "application/json": { schema: reference(body) } } },
    }),
    responses: {
      [name.endsWith(".create") ? "201" : "200"]: { description: "Done.", content: contentOf(operation) },
      default: {
        description: method === "GET" ? "Refused." : "Refused; nothing was changed.",
        content: { "application/json": { schema: reference(errorReplySchema) } },
      },
    },
  };
}

function contentOf(operation: AdminOperation): Json {
  if (operation.kind === "entries") {
    return { "text/csv": { schema: { type: "string" } }, "application/jsonl": { schema: { type: "string" } } };
  }
  const schema = replySchemaOf(operation);
  return { "application/json": { schema: schema ? reference(schema) : { type: "object" } } };
}

/** What a body of the operation has to be. */
function bodyOf(operation: AdminOperation): z.ZodType | undefined {
  if (operation.kind !== "entry") return undefined;
  switch (operation.verb) {
    case "create":
      return createBodies[operation.level];
    case "update":
      return updateBodies[operation.level];
    case "block":
    case "unblock":
      return versionBody;
    case "rotate":
      return rotateBody;
    case "revoke":
      return emptyBody;
    default:
      return undefined;
  }
}

function queryOf(operation: AdminOperation): z.ZodObject {
  if (operation.kind === "report") return reportQuery;
  if (operation.kind === "entries") return entriesQuery;
  return operation.kind === "entry" && operation.verb === "list" ? listQueries[operation.level] : noQuery;
}

/** What a good reply is; `undefined`: not one of these schemas. */
export function replySchemaOf(operation: AdminOperation): z.ZodType | undefined {
  if (operation.kind !== "entry") return operation.kind === "report" ? reportReply : undefined;
  const { verb, level } = operation;
  switch (verb) {
    case "list":
      return pageReplies[level];
    case "delete":
      return deletedReply;
    case "budgets":
      return budgetsReply;
    case "rotate":
      return createdKeyReply;
    case "create":
      return level === "key" ? createdKeyReply : entryReplies[level];
    default:
      return entryReplies[level];
  }
}

function parametersOf(query: z.ZodObject): Json[] {
  return Object.entries(query.shape).map(([name, field]) => {
    // Every field of a shape is a schema.
    const { description, ...schema } = jsonSchema(field as z.ZodType);
    return {
      name,
      in: "query",
      required: false,
      ...(description !== undefined && { description }),
      ...(schema.type === "array" && { style: "form", explode: false }),
      schema,
    };
  });
}

function reference(schema: z.ZodType): Json {
  const named = COMPONENTS.find(([, component]) => component === schema);
  return named ? { $ref: `#/components/schemas/${named[0]}` } : jsonSchema(schema);
}

const HOW = {
  io: "input",
  target: "draft-2020-12",
  unrepresentable: "any",
  override({ zodSchema, jsonSchema: made }) {
    // The one thing that zod cannot put into words: a period of a budget.
    if (zodSchema._zod.def.type !== "custom") return;
    made.type = "string";
    made.pattern = "^(day|week|month|total|[1-9]\\d{0,4}[hd])$";
  },
} satisfies z.core.ToJSONSchemaParams;

function jsonSchema(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, HOW);
  return rest;
}

/** With references to each other. */
function componentSchemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of COMPONENTS) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { ...HOW, uri: (id) => `#/components/schemas/${id}` });
  return Object.fromEntries(
    COMPONENTS.map(([name]) => {
      const { $schema: _, $id: __, ...rest } = schemas[name] ?? {};
      return [name, rest];
    }),
  );
}
