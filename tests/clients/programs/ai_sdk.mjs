// The AI SDK's ways to us: `ai_sdk.mjs responses|chat|compatible|anthropic`. Prints one JSON object.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const url = process.env.DMRC_URL;
const kind = process.argv[2];
const openai = createOpenAI({ baseURL: `${url}/engines/v1`, apiKey: "none" });
const provider = {
  responses: (name) => openai(name),
  chat: (name) => openai.chat(name),
  compatible: createOpenAICompatible({
    name: "dmrc", baseURL: `${url}/engines/v1`, apiKey: "none", includeUsage: true, supportsStructuredOutputs: true,
  }),
  anthropic: createAnthropic({ baseURL: `${url}/anthropic/v1`, apiKey: "none" }),
}[kind];
const chats = { model: provider(process.env.CHAT_MODEL), temperature: 0, maxOutputTokens: 64, maxRetries: 0 };
const calls = { ...chats, model: provider(process.env.TOOL_MODEL) };
const seen = [];
const tools = {
  get_weather: tool({
    description: "Tell the weather of a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async (input) => (seen.push(["get_weather", input]), "sunny"),
  }),
};
const weather = { ...calls, tools, prompt: "What is the weather in Bern?", stopWhen: stepCountIs(2) };
const failed = [];
const onError = ({ error }) => failed.push(String(error));
const schema = z.object({ name: z.string(), legs: z.number().int() });

const first = await generateText({ ...chats, prompt: "Say hello" });
const streaming = streamText({ ...chats, prompt: "Say hello", onError });
const pieces = [];
for await (const piece of streaming.textStream) pieces.push(piece);
const cut = await generateText({ ...chats, prompt: "Say hello", maxOutputTokens: 1 });
const history = [{ role: "user", content: "Say hello" }, ...first.response.messages, { role: "user", content: "Again" }];
const again = await generateText({ ...chats, messages: history });
const used = await generateText(weather);
const whole = [...seen.splice(0)];
const usedInStream = streamText({ ...weather, onError });
let answer = "";
for await (const piece of usedInStream.textStream) answer += piece;
const usage = await streaming.totalUsage;
const object = await generateObject({ ...chats, schema, prompt: "Name an animal." });
const objects = streamObject({ ...chats, schema, prompt: "Name an animal.", onError });
for await (const _ of objects.partialObjectStream);
console.log(JSON.stringify({
  chat: first.text, stream: pieces.join(""), pieces: pieces.length, tokens: [usage.inputTokens, usage.outputTokens],
  cut: cut.finishReason, second: again.text, tool: whole, answer: used.text, tool_stream: seen,
  answer_stream: answer, structured: object.object, structured_stream: await objects.object, failed,
}));
