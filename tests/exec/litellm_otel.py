"""LiteLLM with its OpenTelemetry callback: one call, streamed if an argument is given."""

import sys

import litellm

litellm.callbacks = ["otel"]
messages = [{"role": "user", "content": "Say hi"}]
if len(sys.argv) > 1:
    chunks = litellm.completion(model="openai/gpt-4o-mini", messages=messages, stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
else:
    print(litellm.completion(model="openai/gpt-4o-mini", messages=messages).choices[0].message.content)
