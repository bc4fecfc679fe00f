import { type BlockConversation, blockConversation } from "../shared/block-conversation.js";
import type { Block } from "../shared/claude/blocks.js";
import { thinkingBlocks } from "../shared/claude/reasoning.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import type { JsonObject } from "../shared/json-object.js";
import { contentBlocks, textBlocks, withCacheMark } from "./content.js";

/** The messages of a chat in Anthropic's words. */
export type Conversation = BlockConversation<Block>;

/** @throws {UpstreamError} class `invalid_request`: a message cannot be expressed. */
export function convertMessages(messages: unknown, keepsThinking: boolean, report: DroppedFields): Conversation {
  const conversation = blockConversation<Block>(
    messages,
    {
      // The API wants a text; the first message must be the user's.
      placeholder: { type: "text", text: "." },
      content: (content) => contentBlocks(content, report),
      text: textBlocks,
      thoughts: (message) => (keepsThinking ? thinkingBlocks(message) : []),
      call: (id, name, input) => ({ type: "tool_use", id, name, input }),
      result: (id, message) => toolResult(id, message, report),
      callId: toolId,
      marked,
    },
    report,
  );
  return { ...conversation, messages: withoutTrailingSpace(conversation.messages) };
}

/** An empty text is left out: a result may be without content, a text block may not. */
function toolResult(id: string, { content }: JsonObject, report: DroppedFields): Block {
  const result: Block = { type: "tool_result", tool_use_id: id };
  if (typeof content === "string") {
    if (content.trim() !== "") result.content = content;
  } else {
    const blocks = contentBlocks(content, report);
    if (blocks.length > 0) result.content = blocks;
  }
  return result;
}

/** A mark on the message holds for its last block. */
function marked(blocks: Block[], source: JsonObject): Block[] {
  const last = blocks.at(-1);
  return last ? [...blocks.slice(0, -1), withCacheMark(last, source)] : blocks;
}

/** Ids may have letters, digits, `_` and `-` only; others become `_`, the same for call and result. */
function toolId(id: string): string {
  return id.replace(/[^a-zA-Z0-9_-]/g, "_");
}

/** A text that the model is to continue must not end in whitespace. */
function withoutTrailingSpace(messages: Conversation["messages"]): Conversation["messages"] {
  const last = messages.at(-1);
  const text = last?.content.at(-1);
  if (last?.role !== "assistant" || text?.type !== "text" || typeof text.text !== "string") return messages;
  const content = [...last.content.slice(0, -1), { ...text, text: text.text.trimEnd() }];
  return [...messages.slice(0, -1), { role: "assistant", content }];
}
