"""MLflow's autolog: one call, streamed if an argument is given."""

import sys

import mlflow
import openai

mlflow.openai.autolog()
messages = [{"role": "user", "content": "Say hi"}]
client = openai.OpenAI()
if len(sys.argv) > 1:
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
else:
    print(client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content)
