"""OpenAI's SDK without any instrumentation: one call, streamed if an argument is given."""

import sys

import openai

messages = [{"role": "user", "content": "Say hi"}]
client = openai.OpenAI()
if len(sys.argv) > 1:
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
else:
    print(client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content)
