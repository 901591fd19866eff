"""Langfuse's Python SDK: one call inside an observed function, streamed if an argument is given."""

import sys

from langfuse import observe
from langfuse.openai import openai


@observe()
def main():
    messages = [{"role": "user", "content": "Say hi"}]
    client = openai.OpenAI()
    if len(sys.argv) > 1:
        chunks = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content


print(main())
