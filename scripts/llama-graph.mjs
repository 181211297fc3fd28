// What llama.cpp's graph of each architecture really reads: the reference of `convert`, and what an upgrade has to be
// compared with.
//
//   node scripts/llama-graph.mjs           writes scripts/llama-graph.json from the pinned source (deps/llama.cpp)
//   node scripts/llama-graph.mjs --check   says whether the file is current, and what differs
//
// Read from the source's text, by patterns; where the source was rewritten so that a pattern finds nothing, this fails
// rather than write less.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LLAMA_CPP, root } from './llama-source.mjs'

/** As lib/model/base/architectures.ts supports them; test/scripts/llama-graph.test.ts holds the two together. */
export const ARCHITECTURES = ['llama', 'mistral3', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3']
export const TABLE = join(root, 'scripts', 'llama-graph.json')
export const sourceFolder = process.env.TRAITSCOPE_LLAMA_CPP ?? join(root, 'deps', 'llama.cpp')

/** True where the source lies that the table is made from. */
export const hasSource = () => existsSync(join(sourceFolder, 'src', 'models', 'llama.cpp'))

/** The table as it should be. */
export function readGraphs(folder = sourceFolder) {
  const source = (name) => readFileSync(join(folder, 'src', name), 'utf8').replace(/\/\/.*$/gm, '')
  const arch = source('llama-arch.cpp')
  const keys = names(arch, 'LLM_KV_NAMES')
  const tensors = names(arch, 'LLM_TENSOR_NAMES')
  const model = source('llama-model.cpp')
  const hparams = source('llama-hparams.h')
  const loading = body(model, 'void llama_model_base::load_hparams(')
  return {
    version: LLAMA_CPP.version,
    // For every architecture, before its own.
    all: {
      keys: keysRead(loading, keys),
      defaults: found(
        hparams,
        /^\s*float\s+((?:rope|yarn)_\w+)\s*=\s*([^;]+);/gm,
        ([, name, value]) => `${name} = ${value.trim()}`,
      ),
      tokenizerKeys: found(source('llama-vocab.cpp'), /\bLLM_KV_\w+/g, ([name]) => keys.get(name)),
      splittingRules: found(source('llama-vocab.cpp'), /tokenizer_pre == "([^"]+)"/g, ([, name]) => name),
      // Whole words of a vocabulary that are taken for control tokens by their text, whatever the file says.
      promotedTokens: found(source('llama-vocab.cpp'), /\bt\.first == "([^"]+)"/g, ([, text]) => text),
      longFactors: squeeze(body(model, 'ggml_tensor * llama_model::get_rope_factors(')),
    },
    architectures: Object.fromEntries(
      ARCHITECTURES.map((name) => [
        name,
        readGraph(source(`models/${name}.cpp`), model, name, keys, tensors),
      ]),
    ),
  }
}

function readGraph(text, model, name, keys, tensors) {
  const loading = body(text, `void llama_model_${name}::load_arch_hparams(`)
  const creating = body(text, `void llama_model_${name}::load_arch_tensors(`)
  const graph = text.slice(text.indexOf(`::build_arch_graph(`))
  return {
    keys: keysRead(loading, keys),
    // Set without being asked, or derived: what no key can change.
    fixed: found(loading, /^\s*(hparams\.\w+\s*=[^;]+|load_swa_pattern\([^;]+);/gm, ([, what]) =>
      squeeze(what),
    ),
    tensors: [
      ...new Set([
        ...found(
          creating,
          /tn\((LLM_TENSOR_\w+),\s*"(\w+)"/g,
          ([, tensor, part]) => `${tensors.get(tensor)}.${part}`,
        ),
        ...(creating.includes('create_tensor_qkv(')
          ? found(
              body(model, 'void llama_model_base::create_tensor_qkv('),
              /tn\((LLM_TENSOR_\w+),\s*"(\w+)"/g,
              ([, tensor, part]) => `${tensors.get(tensor)}.${part}`,
            )
          : []),
      ]),
    ].sort(),
    activations: found(graph, /\bLLM_FFN_(?!PAR|SEQ)\w+/g, ([what]) => what),
    attention: found(graph, /\bbuild_attn_inp_\w+/g, ([what]) => what),
    rotation: found(graph, /ggml_rope_ext\(\s*ctx0, \w+, inp_pos, ([^;]+)\)/g, ([, what]) => squeeze(what)),
    settings: found(graph, /\b(?:hparams|cparams)\.(\w+)/g, ([, what]) => what),
    // Of the whole file without comments and spaces: whatever else changes shows here.
    sha256: createHash('sha256').update(text.replace(/\s+/g, '')).digest('hex'),
  }
}

/** A map from enumerators to names. */
function names(text, map) {
  const start = text.indexOf(`${map} = {`)
  const entries = [
    ...text.slice(start, text.indexOf('\n};', start)).matchAll(/\{\s*(LLM_\w+),\s*"([^"]*)"\s*\}/g),
  ]
  if (start < 0 || entries.length < 50) throw new Error(`no ${map} in llama-arch.cpp`)
  return new Map(entries.map(([, key, value]) => [key, value]))
}

function keysRead(text, keys) {
  const read = found(text, /get_(?:key_or_arr|key|arr|arr_n)\((LLM_KV_\w+)/g, ([, name]) => keys.get(name))
  // load_swa_pattern reads it for the caller.
  return text.includes('load_swa_pattern(')
    ? [...read, keys.get('LLM_KV_ATTENTION_SLIDING_WINDOW_PATTERN')].sort()
    : read
}

/** The braces after a function's head. */
function body(text, head) {
  const start = text.indexOf('{', text.indexOf(head))
  if (!text.includes(head) || start < 0) throw new Error(`no ${head}) in llama.cpp's source`)
  let depth = 0
  for (let at = start; at < text.length; at++) {
    if (text[at] === '{') depth++
    if (text[at] === '}' && --depth === 0) return text.slice(start, at + 1)
  }
  throw new Error(`${head}) has no end`)
}

/** Distinct matches, sorted; none at all means that the pattern is out of date. */
function found(text, pattern, of) {
  return [...new Set([...text.matchAll(pattern)].map(of).filter((what) => what !== undefined))].sort()
}

const squeeze = (text) => text.replace(/\s+/g, ' ').trim()

const isMain = process.argv[1]?.endsWith('llama-graph.mjs')
if (isMain) {
  if (!hasSource()) {
    console.error(`no source in ${sourceFolder}: npm run build fetches it`)
    process.exit(1)
  }
  const lines = (table) => JSON.stringify(table, null, 2).split('\n')
  const now = lines(readGraphs())
  const before = existsSync(TABLE) ? lines(JSON.parse(readFileSync(TABLE, 'utf8'))) : []
  if (!process.argv.includes('--check')) writeFileSync(TABLE, `${now.join('\n')}\n`)
  else if (now.join() !== before.join()) {
    const [were, are] = [new Set(before), new Set(now)]
    for (const line of before) if (!are.has(line)) console.error(`- ${line.trim()}`)
    for (const line of now) if (!were.has(line)) console.error(`+ ${line.trim()}`)
    console.error(
      'scripts/llama-graph.json is not current: read what changed, mend lib/model/convert, write it anew and format it',
    )
    process.exit(1)
  }
}
