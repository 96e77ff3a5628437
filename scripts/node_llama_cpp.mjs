// Greedy text from a llama.cpp that is not ours: the prebuilt one of the npm package node-llama-cpp.
//
//   npm install node-llama-cpp
//   node scripts/node_llama_cpp.mjs MODEL.gguf "Once upon a time" [ADAPTER.gguf]
//   ggtune generate -m MODEL.gguf -a ADAPTER.gguf -p "Once upon a time" -n 32 --temp 0
//
// With a model in F32 or F16 both print the same 32 tokens. Run by hand.
import {getLlama} from "node-llama-cpp";

const [modelPath, prompt, adapter] = process.argv.slice(2);
if (!prompt) {
  console.error("usage: node node_llama_cpp.mjs MODEL.gguf PROMPT [ADAPTER.gguf]");
  process.exit(2);
}
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath});
const lora = adapter ? {adapters: [{filePath: adapter, scale: 1}]} : undefined;
// One thread: llama.cpp's threads spin, which a busy machine pays for.
const context = await model.createContext({contextSize: 256, threads: 1, lora});
const tokens = model.tokenize(prompt);
if (model.tokens.bos != null) tokens.unshift(model.tokens.bos);
const out = [];
for await (const token of context.getSequence().evaluate(tokens, {temperature: 0})) {
  out.push(token);
  if (out.length === 32) break;
}
console.log(model.detokenize(out));
await llama.dispose();
