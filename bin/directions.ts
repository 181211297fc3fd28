/** Directions for a command: from a folder, or made on the spot for a layer. */
import {
  type ChatTemplate,
  type Directions,
  extractDirections,
  loadDirections,
  type Model,
  type TraitPack,
  TraitscopeError,
} from '../lib/index.js'
import type { Output } from './output.js'

export interface DirectionFlags {
  directions?: string
  layer?: number[]
  traits: string
  allowMismatch?: boolean
  residualBase?: boolean
  cache: boolean
  cacheDir?: string
}

export async function directionsFromFlags(
  flags: DirectionFlags,
  context: { model: Model; pack: TraitPack; template: ChatTemplate; output: Output; signal: AbortSignal },
): Promise<Directions> {
  if (flags.directions !== undefined) return loadDirections(flags.directions)
  if (flags.layer === undefined) {
    throw new TraitscopeError(
      'USAGE',
      'give --directions DIR (made by `traitscope directions`), or --layer N to make them on the spot',
    )
  }
  const progress = context.output.progress('reading trait prompts')
  try {
    return await extractDirections(context.model, context.pack, {
      layers: flags.layer,
      template: context.template,
      probes: false,
      signal: context.signal,
      onProgress: (fraction) => progress.update(fraction),
    })
  } finally {
    progress.done()
  }
}
