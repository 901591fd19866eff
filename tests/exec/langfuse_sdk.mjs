// Langfuse's JavaScript SDK: one call, streamed if an argument is given.
import { observeOpenAI } from "@langfuse/openai";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import { NodeSDK } from "@opentelemetry/sdk-node";
import OpenAI from "openai";

const sdk = new NodeSDK({ spanProcessors: [new LangfuseSpanProcessor()] });
sdk.start();
const client = observeOpenAI(new OpenAI());
const messages = [{ role: "user", content: "Say hi" }];
const stream = process.argv.length > 2;
const answer = await client.chat.completions.create({ model: "gpt-4o-mini", messages, stream });
if (stream) {
  for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
} else {
  console.log(answer.choices[0].message.content);
}
await sdk.shutdown();
