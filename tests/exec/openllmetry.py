"""OpenLLMetry's instrumentation of OpenAI's SDK: one call, streamed if an argument is given."""

import sys

import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
OpenAIInstrumentor().instrument(tracer_provider=provider)
messages = [{"role": "user", "content": "Say hi"}]
client = openai.OpenAI()
if len(sys.argv) > 1:
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
    print("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
else:
    print(client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content)
