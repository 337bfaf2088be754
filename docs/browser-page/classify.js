// A folder of `slimcls export` in a browser: texts in, classes with probabilities out.
// Nothing leaves the browser; the folder and the two packages come from the page's own server.

import { Tokenizer } from "./node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";

// More threads than one need headers that few servers send.
ort.env.wasm.numThreads = 1;

// What this file reads: the format of slimcls.json.
const FORMAT = 2;

// What Python's str.strip takes away, which is not what trim does.
const BLANKS = "[\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const AROUND = new RegExp(`^${BLANKS}+|(?<!${BLANKS})${BLANKS}+$`, "g");

// Letters for a token up to which a text is tokenised whole.
const FEW = 64;

// Open an exported folder. Throws an Error that says what is wrong with it.
export async function open(folder) {
  const about = await read(folder, "slimcls.json", (file) => file.json());
  if (!about.onnx) throw new Error(`${folder}: was not exported; run slimcls export`);
  if (about.pair) throw new Error(`${folder}: classifies pairs of texts, and this page takes one text`);
  if (about.format > FORMAT) throw new Error(`${folder}: format ${about.format} is newer than ${FORMAT}`);
  if (!about.answers_alone) throw new Error(`${folder}: its tokenizer has no prompt in it`);
  const [tokenizer, model] = await Promise.all(
    ["tokenizer.json", "model.onnx"].map((name) => checked(folder, name, about.onnx.sha256[name])),
  );
  const described = JSON.parse(new TextDecoder().decode(tokenizer));
  const session = await ort.InferenceSession.create(new Uint8Array(model));
  return new Classifier(about, described, session);
}

class Classifier {
  constructor(about, described, session) {
    this.labels = about.labels;
    this.temperature = about.confidence?.temperature ?? 1;
    this.session = session;
    this.most = about.max_text_tokens;
    this.skipped = about.onnx.prefix_tokens;
    [this.before, this.after] = idsAround(described.post_processor);
    this.longest = Object.keys(described.model.vocab).reduce((most, one) => Math.max(most, one.length), 1);
    // Special tokens written out in a text are ordinary characters.
    const added = described.added_tokens.filter((token) => !token.special);
    this.tokenizer = new Tokenizer({ ...described, added_tokens: added, post_processor: null }, {});
  }

  // Token ids of a text as they go into the model, cut as in training.
  encode(text) {
    let stripped = text.replace(AROUND, "");
    if (stripped.length > FEW * this.most) stripped = stripped.slice(0, 2 * this.most * this.longest);
    const ids = stripped ? this.tokenizer.encode(stripped).ids.slice(0, this.most) : [];
    return [...this.before, ...ids, ...this.after].slice(this.skipped);
  }

  // The class of a text: {label, probabilities}, the latter by class.
  async predict(text) {
    const ids = BigInt64Array.from(this.encode(text), BigInt);
    const found = await this.session.run({
      ids: new ort.Tensor("int64", ids, [1, ids.length]),
      lengths: new ort.Tensor("int64", BigInt64Array.of(BigInt(ids.length)), [1]),
    });
    const logits = Array.from(found.logits.data, (one) => one / this.temperature);
    const highest = Math.max(...logits);
    const powers = logits.map((one) => Math.exp(one - highest));
    const sum = powers.reduce((one, other) => one + other);
    return {
      label: this.labels[logits.indexOf(highest)],
      probabilities: Object.fromEntries(this.labels.map((name, place) => [name, powers[place] / sum])),
    };
  }
}

// Ids before and after every text, by what the tokenizer puts around it.
function idsAround(processor) {
  const around = [[], []];
  const steps = processor?.processors ?? [processor];
  for (const step of steps.filter((one) => one?.type === "TemplateProcessing")) {
    let behind = 0;
    for (const part of step.single) {
      if (part.Sequence) behind = 1;
      else around[behind].push(...step.special_tokens[part.SpecialToken.id].ids);
    }
  }
  return around;
}

async function read(folder, name, how) {
  const found = await fetch(`${folder}/${name}`);
  if (!found.ok) throw new Error(`${folder}/${name}: ${found.status} ${found.statusText}`);
  return how(found);
}

// A file's bytes, which must be those that were exported.
async function checked(folder, name, hash) {
  const bytes = await read(folder, name, (file) => file.arrayBuffer());
  // Browsers count hashes only on pages from https or from this machine.
  if (!crypto.subtle) return bytes;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (one) => one.toString(16).padStart(2, "0")).join("");
  if (found !== hash) throw new Error(`${folder}/${name}: is damaged or of another export`);
  return bytes;
}
