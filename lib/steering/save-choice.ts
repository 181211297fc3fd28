import { copyFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { takeOptions } from '../arguments.js'
import type { Directions } from '../directions/directions.js'
import { writeDirections } from '../directions/directions-folder.js'
import { mean } from '../estimators/mean.js'
import { publishFolder } from '../formats/files/atomic.js'
import { DIVERGENCE_PROMPTS } from './divergence.js'
import { bestOf, type LayerSelection } from './layer-selection.js'

export const SELECTION_FILE = 'layer_selection.json'
/** Answers and judgements that the choice was made of, in the folder. */
const ANSWERS_FILE = 'steering.jsonl'

/**
 * Writes a directions folder as `saveDirections` does, with `layer_selection.json` in it and, where the choice kept a log, with
 * that log as `steering.jsonl`; the log itself is then removed.
 *
 * @throws TraitscopeError as `saveDirections`
 */
export async function saveLayerChoice(
  { directions, selection }: { directions: Directions; selection: LayerSelection },
  folder: string,
  options: { force?: boolean | undefined; log?: string | undefined } = {},
): Promise<void> {
  const { force = false, log } = takeOptions('saveLayerChoice', options, { force: 'boolean', log: 'path' })
  await publishFolder(
    folder,
    async (temporary) => {
      await writeDirections(directions, temporary)
      await writeFile(
        join(temporary, SELECTION_FILE),
        `${JSON.stringify(layerSelectionDocument(selection), null, 2)}\n`,
      )
      if (log !== undefined) await copyFile(log, join(temporary, ANSWERS_FILE))
    },
    { force, marker: 'directions.json' },
  )
  if (log !== undefined) await rm(log, { force: true })
}

/** The content of `layer_selection.json`: the reference's fields, and everything under `traitscope`. */
export function layerSelectionDocument(selection: LayerSelection): object {
  const { candidates, traits, divergence, layer, by, model, probeAccuracy, ...rest } = selection
  const byLayer = <T>(value: (l: number) => T) =>
    Object.fromEntries(candidates.map((candidate, l) => [candidate, value(l)]))
  const byTrait = <T>(value: (t: number) => T) =>
    Object.fromEntries(traits.map((trait, t) => [trait, value(t)]))
  const rounded = (value: number) => Number(value.toFixed(4))
  return {
    model,
    measurement_layer: layer,
    best_layer: layer,
    layer_source: 'steering',
    selection_method: by,
    probe_results: byLayer((l) => ({
      per_trait: probeAccuracy[l]!,
      average: meanOfKnown(probeAccuracy[l]!),
    })),
    ...(divergence && {
      steering_results: {
        ...byLayer((l) => ({ mean_divergence: rounded(divergence.mean[l]!) })),
        best_layer: candidates[bestOf(divergence.mean, candidates, 'divergence')],
        per_trait_divergences: byTrait((t) => byLayer((l) => rounded(divergence.perTrait[l]![t]!))),
        best_layer_per_trait: byTrait(
          (t) =>
            candidates[
              bestOf(
                divergence.perTrait.map((values) => values[t]!),
                candidates,
                'divergence',
              )
            ],
        ),
      },
    }),
    traitscope: {
      schemaVersion: 1,
      kind: 'traitscope-layer-selection',
      candidates,
      traits,
      ...rest,
      divergence: divergence && { ...divergence, prompts: DIVERGENCE_PROMPTS },
    },
  }
}

function meanOfKnown(values: Record<string, number | null>): number | null {
  const known = Object.values(values).filter((value) => value !== null)
  return known.length === 0 ? null : mean(known)
}
