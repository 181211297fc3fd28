import { dirname, join } from 'node:path'
import { isTraitscopeError } from '../../errors.js'
import { listFolder } from '../files/list-folder.js'
import { openPlain } from '../files/read-whole.js'
import { isJsonObject, readJsonFile } from '../json/json.js'
import { MLX_TENSORS } from '../peft/mlx-adapter.js'
import { ADAPTER_CONFIG, isTensorFile } from '../peft/peft.js'
import type { RunFolder } from './run-folder.js'
import { TRAINER_STATE } from './trainer-state.js'

/** Which program wrote a run, and by what it is recognised. */
export interface RunLayout {
  tool:
    | 'mlx-lm'
    | 'torchtune'
    | 'torchtune or a loop of its own'
    | 'verl'
    | 'NeMo'
    | 'ms-swift'
    | 'LLaMA-Factory'
    | 'LLaMA-Factory v1'
    | 'Axolotl'
    | 'Unsloth'
    | 'TRL'
    | 'Hugging Face Trainer'
  evidence: string
}

/** What is looked at: names of files, the model cards and the configuration, root first. */
interface Traces {
  names: readonly string[]
  cards: string
  baseModel: string
}

const README_BYTES = 64 * 1024

/** First match wins: Axolotl, Unsloth and LLaMA-Factory build on TRL or the Trainer and leave their traces too. */
const TOOLS: readonly (readonly [RunLayout['tool'], (traces: Traces) => string | undefined])[] = [
  ['mlx-lm', ({ names }) => named(names, MLX_TENSORS)],
  [
    'verl',
    ({ names }) => named(names, 'latest_checkpointed_iteration.txt') ?? like(names, /^global_step_\d+$/),
  ],
  ['NeMo', ({ names }) => like(names, /^epoch_\d+_step_\d+$/)],
  ['torchtune', ({ names }) => like(names, /^epoch_\d+$|^recipe_state/)],
  ['ms-swift', ({ names }) => (names.includes('args.json') ? named(names, 'logging.jsonl') : undefined)],
  ['LLaMA-Factory v1', ({ names }) => named(names, 'CHECKPOINT_COMPLETE')],
  [
    'LLaMA-Factory',
    ({ names, cards }) => named(names, 'trainer_log.jsonl') ?? tagged(cards, 'llama-factory'),
  ],
  ['Axolotl', ({ names, cards }) => named(names, 'tokens_state.json') ?? tagged(cards, 'axolotl')],
  [
    'Unsloth',
    ({ cards, baseModel }) =>
      tagged(cards, 'unsloth') ?? (/^unsloth\//i.test(baseModel) ? `base ${baseModel}` : undefined),
  ],
  ['TRL', ({ cards }) => tagged(cards, 'trl')],
  ['Hugging Face Trainer', ({ names }) => named(names, TRAINER_STATE)],
  // Whoever writes a loop calls folders so too.
  ['torchtune or a loop of its own', ({ names }) => like(names, /^step_\d+$/)],
]

/** Recognises the program that wrote a run, by files and words that no other one leaves; undefined when nothing tells. */
export async function recogniseLayout(run: RunFolder): Promise<RunLayout | undefined> {
  const checkpoint = run.checkpoints[0]
  const folders = [
    run.path,
    ...(checkpoint ? [checkpoint.folder, checkpoint.path] : []),
    ...(run.final ? [run.final.path] : []),
  ]
  const traces: Traces = { names: [], cards: '', baseModel: '' }
  for (const folder of new Set(folders.map((path) => (isTensorFile(path) ? dirname(path) : path)))) {
    traces.names = [...traces.names, ...(await listFolder(folder, 'vanished')).map(({ name }) => name)]
    traces.cards += await readCard(folder)
    traces.baseModel ||= await readBaseModel(folder)
  }
  for (const [tool, find] of TOOLS) {
    const evidence = find(traces)
    if (evidence !== undefined) return { tool, evidence }
  }
  return undefined
}

function named(names: readonly string[], name: string): string | undefined {
  return names.includes(name) ? name : undefined
}

function like(names: readonly string[], pattern: RegExp): string | undefined {
  return names.find((name) => pattern.test(name))
}

/** A tag of the model card's front matter. */
function tagged(cards: string, tag: string): string | undefined {
  return new RegExp(`^\\s*- ${tag}\\s*$`, 'm').test(cards) ? `the tag ${tag} of the model card` : undefined
}

async function readCard(folder: string): Promise<string> {
  try {
    const file = await openPlain(join(folder, 'README.md'))
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(README_BYTES), 0, README_BYTES, 0)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch {
    return '' // a card is optional, and only says what is nice to know
  }
}

async function readBaseModel(folder: string): Promise<string> {
  try {
    const json = await readJsonFile(join(folder, ADAPTER_CONFIG))
    const model = isJsonObject(json) ? json.base_model_name_or_path : undefined
    return typeof model === 'string' ? model : ''
  } catch (error) {
    if (isTraitscopeError(error)) return ''
    throw error
  }
}
