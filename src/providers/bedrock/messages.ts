import { type BlockConversation, type BlockMessage, blockConversation } from "../shared/block-conversation.js";
import { nineCharacters } from "../shared/call-ids.js";
import type { Message as ClaudeMessage } from "../shared/claude/blocks.js";
import { thinkingBlocks } from "../shared/claude/reasoning.js";
import type { DroppedFields } from "../shared/encoded-body.js";
import type { JsonObject } from "../shared/json-object.js";
import { type Block, type ContentConverter, PLACEHOLDER, textBlocks } from "./content.js";
import type { ModelFacts } from "./models.js";

/** The messages of a chat in the words of Converse. */
export type Conversation = BlockConversation<Block>;

/**
 * @param content - Of this request: it also marks what is cached.
 * @throws {UpstreamError} class `invalid_request`: a message cannot be expressed.
 */
export function convertMessages(
  messages: unknown,
  { takesSignedThoughts, hasShortCallIds }: ModelFacts,
  content: ContentConverter,
  report: DroppedFields,
): Conversation {
  return blockConversation<Block>(
    messages,
    {
      placeholder: PLACEHOLDER,
      content: (given) => content.blocks(given),
      text: textBlocks,
      thoughts: (message) => (takesSignedThoughts ? thoughtBlocks(message) : []),
      call: (toolUseId, name, input) => ({ toolUse: { toolUseId, name, input } }),
      result: (toolUseId, message) => {
        const blocks = content.blocks(message.content);
        return { toolResult: { toolUseId, content: blocks.length > 0 ? blocks : [PLACEHOLDER] } };
      },
      callId: hasShortCallIds ? nineCharacters : toolUseId,
      marked: (blocks, source) => content.withCacheMark(blocks, source),
    },
    report,
  );
}

/** Ids may have 64 letters, digits, `_` and `-`; others are made to fit, the same for call and result. */
function toolUseId(id: string): string {
  const plain = id.replace(/[^a-zA-Z0-9_-]/g, "_");
  return plain.length <= 64 ? plain : `${plain.slice(0, 54)}_${nineCharacters(id)}`;
}

/** Thoughts that Anthropic has signed, in the words of Converse (wire C5). */
function thoughtBlocks(message: JsonObject): Block[] {
  return thinkingBlocks(message).map((block) =>
    block.type === "thinking"
      ? { reasoningContent: { reasoningText: { text: block.thinking, signature: block.signature } } }
      : { reasoningContent: { redactedContent: block.data } },
  );
}

/** The same messages, as the rules for Anthropic's thinking look at them. */
export function asClaudeMessages(messages: readonly BlockMessage<Block>[]): ClaudeMessage[] {
  return messages.map(({ role, content }) => ({
    role,
    content: content.map((block) => ({ type: claudeType(block) })),
  }));
}

function claudeType(block: Block): string {
  if ("toolUse" in block) return "tool_use";
  return "reasoningContent" in block ? "thinking" : "text";
}
