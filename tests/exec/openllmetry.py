"""OpenLLMetry by Traceloop's SDK: one call inside a workflow, streamed if an argument is given."""

import sys

import openai
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import workflow

Traceloop.init(app_name="test", disable_batch=True)


@workflow(name="asking")
def main():
    messages = [{"role": "user", "content": "Say hi"}]
    client = openai.OpenAI()
    if len(sys.argv) > 1:
        chunks = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content


print(main())
