/** You will see: a guard that refuses a request, and one that rewrites another. */
import { type Plugin, Router, RouterError, routerError } from "llm-switchyard";

const politeness: Plugin = {
  name: "politeness",
  beforeRequest({ body }) {
    if (!("messages" in body)) return;
    const text = JSON.stringify(body.messages);
    if (text.includes("password")) {
      throw routerError("content_policy_violation", { message: "Please do not send passwords to models." });
    }
    return { body: { messages: [{ role: "system", content: "Be polite." }, ...body.messages] } };
  },
};

const router = new Router({
  models: { chat: [{ provider: "simulated", model: "demo", reply: "With pleasure." }] },
  plugins: [politeness],
});

for (const content of ["Help me, please", "My password is hunter2"]) {
  try {
    const reply = await router.chat.completions.create({ model: "chat", messages: [{ role: "user", content }] });
    console.log(reply.choices[0]?.message.content, `(${reply.usage?.prompt_tokens} prompt tokens)`);
  } catch (error) {
    if (!RouterError.isRouterError(error)) throw error;
    console.log(error.status, error.code, error.message);
  }
}
await router.close();
