import { TraitscopeError } from '../errors.js'
import type { AttachedAdapter } from '../model/attached-adapter.js'
import type { Model } from '../model/model.js'
import { hiddenStates } from './hidden-states.js'

/** What adapters do to the states of one prompt. */
export interface AdapterEffect {
  /** Per block that the model was opened for: ‖h − h₀‖ / ‖h₀‖ of the prompt's last token, with the adapters and without. */
  change: number[]
  /** First block whose output changes; undefined when none does. */
  firstLayer?: number
}

const PROBE = 'What would you do with a free afternoon in a town you do not know?'

/**
 * Runs a probe prompt with and without adapters: the proof that they act, whatever their files say.
 *
 * @param options.prompt token ids; default: a short English question
 * @throws TraitscopeError `ADAPTER_NO_EFFECT` when no block changes although the adapters' weights and strengths are not
 * all zero; else as `hiddenStates()`
 */
export async function adapterEffect(
  model: Model,
  adapters: readonly AttachedAdapter[],
  options: { prompt?: Int32Array | undefined; signal?: AbortSignal | undefined } = {},
): Promise<AdapterEffect> {
  const prompt = options.prompt ?? (await model.tokenize([PROBE]))[0]!
  const { nLayer, nEmbd } = model.info
  const layers = Array.from({ length: (model.readsUpTo ?? nLayer - 1) + 1 }, (_, i) => i)
  const { signal } = options
  const bare = await hiddenStates(model, [prompt], { layers, signal })
  const adapted = await hiddenStates(model, [prompt], { layers, signal, adapter: adapters })
  const change = layers.map((layer) => {
    let difference = 0
    let norm = 0
    for (let i = layer * nEmbd; i < (layer + 1) * nEmbd; i++) {
      difference += (adapted.data[i]! - bare.data[i]!) ** 2
      norm += bare.data[i]! ** 2
    }
    return difference === 0 ? 0 : Math.sqrt(difference / norm)
  })
  const firstLayer = change.findIndex((value) => value > 0)
  if (firstLayer >= 0) return { change, firstLayer }
  if (adapters.every(({ report, strength }) => report.allZero || strength === 0)) return { change }
  const headOnly = adapters.every(({ report }) =>
    report.modules.every(({ tensor }) => tensor === 'output.weight'),
  )
  throw new TraitscopeError(
    'ADAPTER_NO_EFFECT',
    headOnly
      ? 'the adapter changes the head only, and no hidden state: there is nothing to read'
      : 'the adapter has weights that are not zero and changes no hidden state of a probe prompt: check that it was trained on this base, and its scale',
  )
}
