"""Anthropic's SDK without any instrumentation: one call, streamed if an argument is given."""

import sys

import anthropic

arguments = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hi"}]}
client = anthropic.Anthropic()
if len(sys.argv) > 1:
    with client.messages.stream(**arguments) as stream:
        print("".join(stream.text_stream))
else:
    print(client.messages.create(**arguments).content[0].text)
