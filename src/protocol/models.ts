/** The model list of OpenAI's API. @see https://platform.openai.com/docs/api-reference/models */
export interface Model {
  id: string;
  object: "model";
  /** Unix seconds; 0 where nobody says. */
  created: number;
  owned_by: string;
}
export interface ModelList {
  object: "list";
  data: Model[];
}
