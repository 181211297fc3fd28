/** `traitscope demo --model`: a first look at a base of one's own. */

import { blocksAt, depthsToMake } from '../lib/detector/contrast.js'
import { loadPrior, type Prior } from '../lib/detector/prior.js'
import { worthOf } from '../lib/directions/worth.js'
import { type FirstLook, firstLook } from '../lib/first-look/first-look.js'
import { parametersText } from '../lib/formats/gguf/gguf-tensors.js'
import { percent } from '../lib/percent.js'
import { loadTraitPack } from '../lib/prompts/trait-pack.js'
import { noiseSentence } from '../lib/trajectory/noise-floor.js'
import { aurocCell } from './auroc-cell.js'
import { CurrentLine } from './current-line.js'
import { type ModelFlags, openFromFlags, templateFromFlags } from './model.js'
import { createOutput, duration, type Output, table } from './output.js'
import { counted, quoted } from './text.js'

export interface FirstLookFlags extends ModelFlags {
  minutes: number
  traits: string
  json?: boolean
  quiet?: boolean
}

/** Checkpoints of a run in the paper's set-up. */
const RUN = 13

export async function firstLookFromFlags(flags: FirstLookFlags, signal: AbortSignal): Promise<void> {
  const output = createOutput(flags)
  const since = performance.now()
  const pack = await loadTraitPack(flags.traits)
  await using model = await openFromFlags(flags, output, signal)
  const template =
    flags.chatTemplate === undefined && model.chatTemplate === undefined
      ? undefined
      : await templateFromFlags(flags, model, pack.acknowledgement)
  using now = new CurrentLine(output)
  const { minutes } = flags
  const look = await firstLook(model, { pack, minutes, since, template, signal, onProgress: now.show })
  now[Symbol.dispose]()
  const next = nextCommands(look, flags, await loadPrior())
  if (flags.json) return output.json({ ...look, next })
  for (const remark of look.remarks) output.remark(remark)
  printLook(output, look)
  output.print(['', 'Next:', ...next.map((line) => `  ${line}`)])
}

function printLook(output: Output, look: FirstLook): void {
  const { model, machine, layers, traits, speed, share, diagnostics, steering, checkpoint } = look
  const under = look.read === 'questions' ? 'system prompt' : 'passage'
  output.print(
    `${model.architecture}, ${parametersText(model.nParams)} parameters, weights mostly ${model.type}; layers ${layers.join(', ')} of ${model.nLayer}`,
  )
  output.print(
    `speed: ${Number(speed.reading.toPrecision(3))} tokens/s up to layer ${layers.at(-1)}, on ${machine.device} with ${machine.threads} thread${machine.threads === 1 ? '' : 's'}`,
  )
  const all = share.questions === share.ofQuestions
  output.print(
    `read: ${all ? 'all' : `${share.questions} of`} ${share.ofQuestions} ${look.read} under every ${under}` +
      (all
        ? ''
        : `, ${percent(share.tokens / share.ofTokens, 0)} of the tokens: what fits ${counted(look.minutes, 'minute')}`),
  )
  output.print([
    '',
    `directions: AUROC within ${look.read === 'openers' ? 'an' : 'a'} ${look.read.slice(0, -1)}, ${look.read.slice(0, -1)} and ${under} left out; 95 % intervals`,
  ])
  output.print(
    table(
      ['trait', ...layers.map((layer) => `layer ${layer}`)],
      traits.map((trait) => [
        trait,
        ...diagnostics.map(({ heldOut }) => {
          const held = heldOut[trait]
          return `${aurocCell(held?.both)}${worthOf(held) === 'usable' ? ' *' : '  '}`
        }),
      ]),
    ),
  )
  output.print([...look.summary.map((text) => text.replace('usable:', 'usable (*):')), ''])
  output.print(
    look.noiseFloor === null
      ? 'noise floor: none, nothing is rounded in an F32 file on this processor'
      : noiseSentence(look.noiseFloor),
  )
  const run = (RUN + 1) * checkpoint.seconds
  output.print(
    `one checkpoint: ${checkpoint.seconds.toFixed(1)} s for ${checkpoint.prompts} prompts and an adapter's swap; a run of ${RUN} and step 0 ${duration(run)}`,
  )
  printSteering(output, steering)
  output.print([
    '',
    `That took ${duration(look.seconds)} of ${look.minutes} min${look.seconds > 60 * look.minutes ? ': it became slower than it was measured to be' : ''}. Nothing was trained and nothing of this is a verdict: a direction that holds up here`,
    'orders prompts; whether a drift along it means danger, only judged runs of this base can say.',
  ])
}

function printSteering(
  output: Output,
  { trait, layer, prompt, dose, ...answers }: FirstLook['steering'],
): void {
  const { baseline, positive, negative, divergence } = answers
  const shown = ({ text, finish }: typeof baseline) =>
    `${text.trim().replace(/\s*\n\s*/g, ' / ')}${finish === 'stop' ? '' : ' ...'}`
  output.print([
    '',
    `steering: ${trait} at layer ${layer}, dose ${dose} added (+) and taken away (-); distance from the answer as it is`,
    `  prompt: ${prompt.messages?.map(({ content }) => content).join(' / ') ?? prompt.text}`,
    `  as it is: ${shown(baseline)}`,
    `  + (${divergence.positive.toFixed(2)}): ${shown(positive)}`,
    `  - (${divergence.negative.toFixed(2)}): ${shown(negative)}`,
  ])
}

/**
 * What makes directions in full, at the layer that looked best and where a prior reads them, and what watches a run with them.
 */
function nextCommands(look: FirstLook, { model, traits }: FirstLookFlags, { depths }: Prior): string[] {
  const { bestLayer, directionsSeconds } = look
  const layers = [...new Set([bestLayer, ...blocksAt(depthsToMake(depths), look.model.nLayer)])].sort(
    (a, b) => a - b,
  )
  const base = `-m ${quoted(model)}${traits === 'core' ? '' : ` --traits ${quoted(traits)}`}`
  const bare = look.read === 'openers'
  return [
    `npx traitscope directions ${base} --layer ${layers.join(',')}${bare ? ' --passages core' : ''} -o directions   # about ${duration(directionsSeconds)}`,
    `npx traitscope watch ${base} --directions directions${bare ? ' --chat-template plain' : ''} out/`,
  ]
}
