import { type AdapterSwap, swapAdapters } from '../bench/adapter-swap.js'
import { mainType } from '../bench/roofline.js'
import { readingRemarks } from '../conditions/reading-remarks.js'
import type { Directions, LayerDiagnostics } from '../directions/directions.js'
import { extractDirections } from '../directions/extract-directions.js'
import { worthOf, worthSentences } from '../directions/worth.js'
import { TraitscopeError, throwIfAborted } from '../errors.js'
import type { GgmlTypeName } from '../formats/gguf/ggml-types.js'
import type { Model } from '../model/model.js'
import { ChatTemplate } from '../prompts/chat-template.js'
import { loadPassages } from '../prompts/passages.js'
import { evaluationPrompts } from '../prompts/prompt-sets.js'
import { chatTokens } from '../prompts/prompt-tokens.js'
import { selectTraits } from '../prompts/trait-pack.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import { noisePrompts, roundsNothing } from '../trajectory/noise-floor.js'
import { prepareMeasurement } from '../trajectory/prepare-measurement.js'
import type { NoiseFloor } from '../trajectory/trajectory.js'
import {
  computedTokens,
  type ExtractionTexts,
  evenly,
  extractionTexts,
  FEWEST,
  fitting,
  tokensOf,
} from './budget.js'
import { answeringPace, readingPace } from './pace.js'
import { type SteeringSample, steeringSample } from './steering-sample.js'

/** How long to look, and with what. */
export interface FirstLookOptions {
  pack: TraitPack
  /** For everything, from now on; what is read is chosen to fit. Default 2. */
  minutes?: number | undefined
  /** When the time began, by `performance.now()`: loading the model counts too. Default: now. */
  since?: number | undefined
  /** Default: the model's own. A model without one is read as a base model: passages, prompts as plain text. */
  template?: ChatTemplate | undefined
  /** Computed tokens a second up to the last layer, where they are known; default: measured. */
  pace?: number | undefined
  signal?: AbortSignal | undefined
  /** What is done next, and the fraction of it. */
  onProgress?: ((what: string, fraction?: number) => void) | undefined
}

/** What a base model shows before anything is trained. */
export interface FirstLook {
  model: {
    path: string
    architecture: string
    nParams: number
    type: GgmlTypeName
    nLayer: number
    nEmbd: number
  }
  machine: { device: string; threads: number }
  /** What directions were made of: system prompts through the chat template, or passages. */
  read: 'questions' | 'openers'
  /** 0-based blocks. */
  layers: readonly number[]
  traits: readonly string[]
  /** `reading`: computed tokens a second up to the last of the layers. `answering`: tokens a second of three answers together. */
  speed: { reading: number; answering: number }
  /** How many of the questions (openers) were read under every system prompt (passage), and the tokens to compute for it. */
  share: { questions: number; ofQuestions: number; tokens: number; ofTokens: number }
  diagnostics: readonly LayerDiagnostics[]
  /** What the directions are worth, in sentences. */
  summary: readonly string[]
  /** Null where nothing is rounded. */
  noiseFloor: NoiseFloor | null
  steering: SteeringSample
  /** Of the pack's evaluation prompts through the base and an adapter's swap: what one checkpoint takes. */
  checkpoint: { seconds: number; prompts: number; adapter: AdapterSwap }
  /** Directions of all questions would take about so many seconds. */
  directionsSeconds: number
  /** The layer at which most traits are usable. */
  bestLayer: number
  seconds: number
  minutes: number
  remarks: readonly string[]
}

/** An estimate may be wrong by a fourth. */
const SAFETY = 0.8
/** Of the whole time, for learning how fast the model is. */
const PROBE_SHARE = 0.03
/** Tokens of a steered answer. */
const ANSWER = { fewest: 12, most: 60 }
/** Swaps of an adapter, in passes of one token. */
const SWAP_PASSES = 20

/**
 * Looks at a base for a limited time: measures how fast it is read, chooses how many of the questions fit, makes directions
 * and tells what they are worth, the noise floor, what a direction does to an answer, and what a checkpoint would cost.
 * Nothing is written, nothing is trained, and nothing of it is a verdict.
 *
 * @throws TraitscopeError USAGE where not even four questions fit, with the time that it takes; as `extractDirections`
 */
export async function firstLook(model: Model, options: FirstLookOptions): Promise<FirstLook> {
  const { pack, minutes = 2, since = performance.now(), signal, onProgress } = options
  const elapsed = () => (performance.now() - since) / 1000
  const total = 60 * minutes
  const bare = options.template === undefined && model.chatTemplate === undefined
  const { acknowledgement } = pack
  const passages = bare ? await loadPassages('core') : undefined
  const template =
    options.template ??
    (bare
      ? ChatTemplate.plain(model, { acknowledgement })
      : ChatTemplate.forModel(model, { acknowledgement }))
  const layers = layersToLookAt(model.info.nLayer)
  const traits = selectTraits(pack, 'core')
  const evaluation = await chatTokens(
    model,
    template,
    evaluationPrompts(pack).map(({ messages }) => messages),
  )
  const question = { text: pack.questions[0]! }

  onProgress?.('how fast the model is read')
  const texts = await extractionTexts(model, pack, traits, template, passages)
  const reading =
    options.pace ?? (await readingPace(model, texts.poles[0]!, layers, PROBE_SHARE * total, signal))
  const stepSeconds = await answeringPace(model, question, { template, signal })
  throwIfAborted(signal)
  const noise = roundsNothing(model) ? 0 : 3 * computedTokens(model, noisePrompts(evaluation))
  const fixed =
    (computedTokens(model, evaluation) + noise) / reading + (ANSWER.fewest + SWAP_PASSES) * stepSeconds
  const questions = chosenQuestions(model, texts, { reading, fixed, elapsed: elapsed(), minutes })

  const part: TraitPack = {
    ...pack,
    questions: evenly(pack.questions, passages ? pack.questions.length : questions),
  }
  const directions = await extractDirections(model, part, {
    layers,
    template,
    passages: passages && { ...passages, openers: evenly(passages.openers, questions) },
    probes: false,
    signal,
    onProgress: (fraction) => onProgress?.('directions', fraction),
  })

  onProgress?.('step 0, noise floor and swapping adapters')
  const plan = await prepareMeasurement(model, directions, { pack: part, template, cacheDir: false })
  const started = performance.now()
  const base = await plan.measureBase({ signal })
  const passSeconds = (performance.now() - started) / 1000
  const noiseFloor = await plan.measureNoise(base, { signal })
  const adapter = await swapAdapters(model, evaluation[0]!, layers.at(-1)!, signal)

  onProgress?.('steering')
  const left = Math.floor((total - elapsed()) / stepSeconds)
  const maxTokens = Math.min(ANSWER.most, Math.max(ANSWER.fewest, left))
  const steering = await steeringSample(model, directions, question, { template, signal, maxTokens })
  const ofTokens = tokensOf(model, texts, texts.questions)
  const { path, info, gguf, device, threads } = model
  const { architecture, nParams, nLayer, nEmbd } = info
  return {
    model: { path, architecture, nParams, type: mainType(gguf), nLayer, nEmbd },
    machine: { device, threads },
    read: passages ? 'openers' : 'questions',
    layers,
    traits: directions.traits,
    speed: { reading, answering: 1 / stepSeconds },
    share: {
      questions,
      ofQuestions: texts.questions,
      tokens: directions.tokens.computed,
      ofTokens,
    },
    diagnostics: directions.diagnostics,
    summary: worthSentences(directions),
    noiseFloor,
    steering,
    checkpoint: {
      seconds: passSeconds + adapter.readSeconds + adapter.swapSeconds,
      prompts: evaluation.length,
      adapter,
    },
    directionsSeconds: ofTokens / reading,
    bestLayer: bestLayer(directions),
    seconds: elapsed(),
    minutes,
    remarks: readingRemarks(model, texts.poles.flat()),
  }
}

/** From the middle to three quarters of the depth, where drifts tell runs apart. */
export function layersToLookAt(nLayer: number): number[] {
  const at = [1 / 2, 5 / 8, 3 / 4].map((depth) => Math.min(nLayer - 1, Math.floor(depth * nLayer)))
  return [...new Set(at)]
}

/** The layer with the most usable traits; of several the one whose traits hold up best in the mean. */
function bestLayer({ diagnostics, traits }: Directions): number {
  const score = ({ heldOut }: LayerDiagnostics) => {
    const usable = traits.filter((trait) => worthOf(heldOut[trait]) === 'usable').length
    const sum = traits.reduce((total, trait) => total + (heldOut[trait]?.both?.auroc ?? 0), 0)
    return usable + sum / (traits.length + 1)
  }
  return diagnostics.reduce((best, each) => (score(each) > score(best) ? each : best)).layer
}

function chosenQuestions(
  model: Model,
  texts: ExtractionTexts,
  { reading, fixed, elapsed, minutes }: { reading: number; fixed: number; elapsed: number; minutes: number },
): number {
  const cost = (n: number) => tokensOf(model, texts, n) / reading + fixed
  const budget = SAFETY * (60 * minutes - elapsed)
  const questions = fitting(cost, budget, texts.questions)
  if (questions !== undefined) return questions
  const fewest = Math.min(FEWEST, texts.questions)
  const needed = Math.ceil((10 * (elapsed + cost(fewest) / SAFETY)) / 60) / 10
  throw new TraitscopeError(
    'USAGE',
    `expected enough time for ${fewest} questions, the fewest that directions can be tested with: about ${needed} minutes for this model here ` +
      `(${Number(reading.toPrecision(3))} tokens/s), found ${minutes}; give --minutes ${needed}${model.threads > 1 ? ', or where other work keeps the cores busy -t with fewer threads' : ''}`,
  )
}
