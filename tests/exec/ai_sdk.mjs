// Vercel's AI SDK with its telemetry: one call of chat completions, streamed if an argument is given.
import { createOpenAI } from "@ai-sdk/openai";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { generateText, streamText } from "ai";

const sdk = new NodeSDK({ traceExporter: new OTLPTraceExporter() });
sdk.start();
const call = {
  model: createOpenAI().chat("gpt-4o-mini"),
  prompt: "Say hi",
  experimental_telemetry: { isEnabled: true },
};
if (process.argv.length > 2) {
  for await (const text of streamText(call).textStream) process.stdout.write(text);
} else {
  console.log((await generateText(call)).text);
}
await sdk.shutdown();
