"""One chat completion traced as in Langfuse's OpenTelemetry cookbook: mlflow's autolog inside a span of one's own."""

import sys

import mlflow
from openai import OpenAI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
mlflow.openai.autolog()

with trace.get_tracer(__name__).start_as_current_span("OpenAI-Trace") as span:
    span.set_attribute("langfuse.user.id", "user-123")
    span.set_attribute("langfuse.session.id", "demo")
    span.set_attribute("langfuse.tags", ["smoke"])
    answer = OpenAI().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": sys.argv[1]}]
    )
print(answer.choices[0].message.content)
provider.shutdown()
