"""What OpenAI's Python client makes of a router's answers: usage: openai_client.py BASE_URL. Prints one JSON object."""

import json
import sys
import time

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-unused", max_retries=2)
MESSAGES = [{"role": "user", "content": "Hello there"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
seen = {"version": openai.__version__}


def chat():
    completion = client.chat.completions.create(model="chat", messages=MESSAGES)
    return {
        "text": completion.choices[0].message.content,
        "finish_reason": completion.choices[0].finish_reason,
        "total_tokens": completion.usage.total_tokens,
        "request_id": completion._request_id,
    }


def stream():
    text, usage, finish_reason = "", None, None
    for chunk in client.chat.completions.create(
        model="chat", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish_reason = choice.finish_reason or finish_reason
    return {"text": text, "finish_reason": finish_reason, "total_tokens": usage.total_tokens}


def stream_helper():
    with client.chat.completions.stream(model="chat", messages=MESSAGES) as events:
        for _ in events:
            pass
        return {"text": events.get_final_completion().choices[0].message.content}


def left_stream():
    with client.chat.completions.create(model="slow", messages=MESSAGES, stream=True) as chunks:
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                return {"first": chunk.choices[0].delta.content}


def tools():
    completion = client.chat.completions.create(
        model="chat", messages=MESSAGES, tools=[WEATHER], tool_choice="required"
    )
    call = completion.choices[0].message.tool_calls[0]
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def completions():
    return {"text": client.completions.create(model="chat", prompt="Hello there", max_tokens=8).choices[0].text}


def embeddings():
    # Without an encoding the client asks for base64, and decodes it.
    default = client.embeddings.create(model="chat", input=["one", "two"], dimensions=8)
    floats = client.embeddings.create(model="chat", input=["one", "two"], dimensions=8, encoding_format="float")
    pairs = zip(default.data, floats.data)
    return {
        "indexes": [entry.index for entry in default.data],
        "length": len(default.data[0].embedding),
        "same": all(abs(a - b) < 1e-6 for x, y in pairs for a, b in zip(x.embedding, y.embedding)),
        "total_tokens": default.usage.total_tokens,
    }


def models():
    return {"ids": sorted(model.id for model in client.models.list())}


def error(model, **options):
    """The client's exception, and how long it took with all its retries."""
    started = time.monotonic()
    try:
        client.with_options(**options).chat.completions.create(model=model, messages=MESSAGES)
    except openai.APIError as error:
        return {
            "class": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "code": error.code,
            "type": error.type,
            "waited_s": time.monotonic() - started,
        }
    return {"waited_s": time.monotonic() - started}


def broken_stream():
    text = ""
    try:
        for chunk in client.chat.completions.create(model="broken", messages=MESSAGES, stream=True):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return {"class": type(error).__name__, "code": error.code, "text": text}
    return {"text": text}


def timeout():
    try:
        client.with_options(timeout=0.5, max_retries=0).chat.completions.create(model="silent", messages=MESSAGES)
    except openai.APITimeoutError as error:
        return {"class": type(error).__name__}


for run in (chat, stream, stream_helper, left_stream, tools, completions, embeddings, models, broken_stream, timeout):
    seen[run.__name__] = run()
seen["unknown_model"] = error("nowhere")
seen["bad_request"] = error("refusing")
seen["limited"] = error("limited", max_retries=1)
seen["recovering"] = error("recovering")
seen["failing"] = error("failing", max_retries=1)
print(json.dumps(seen))
