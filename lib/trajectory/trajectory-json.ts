import { checkMade, Made } from '../arguments.js'
import { sha256 } from '../formats/files/hash.js'
import { type LayerTrajectory, type Step, TRAJECTORY, type Trajectory } from './trajectory.js'

/** Version of the `traitscope` member of trajectory.json. */
export const TRAJECTORY_SCHEMA = 1

/** One entry of the reference's `trajectory` list. */
export interface ReferenceEntry {
  step: Step
  projections: Record<string, number>
  projections_normalized: Record<string, number>
}

/**
 * The object of `trajectory.json`: the reference's second version with its field names (method section 5.4),
 * which holds the primary layer, and all layers and our conditions under `traitscope`. A final adapter that
 * repeats a checkpoint appears as the reference has it, as one more entry `"final"` with the numbers of that
 * step; `traitscope.finalAliasOf` says so.
 */
export function trajectoryDocument(
  trajectory: Trajectory,
  pack: { sha256: string },
): Record<string, unknown> {
  checkMade(trajectory, TRAJECTORY)
  checkMade(pack, new Made<{ sha256: string }>('the trait pack that it was measured with', 'sha256'))
  const { traits, steps, finalAliasOf, layers, primary, run, measurement } = trajectory
  const { categories, strengths, contexts, margin, skipped, noiseFloor } = trajectory
  const first = layers[primary]!
  const entries = steps.map(({ step }, i) => referenceEntry(step, traits, first, i))
  if (finalAliasOf !== null) {
    const at = steps.findIndex(({ step }) => step === finalAliasOf)
    entries.push(referenceEntry('final', traits, first, at))
  }
  return {
    model: run.model,
    data_source: run.dataSource,
    seed: run.seed,
    full_finetune: run.fullFinetune,
    lora_rank: run.loraRank,
    lora_alpha: run.loraAlpha,
    lr: run.lr,
    epochs: run.epochs,
    n_samples: run.nSamples,
    save_steps: run.saveSteps,
    max_steps: run.maxSteps,
    early_update_steps: run.earlyUpdateSteps,
    measurement_layer: first.layer,
    direction_bundle_sha256: measurement?.directionsSha256 ?? null,
    direction_sha256: measurement?.directionsSha256 ?? null,
    eval_prompt_config_sha256: pack.sha256,
    trait_order: traits,
    step0_activation_norm: first.step0ActivationNorm,
    trajectory: entries,
    traitscope: {
      schemaVersion: TRAJECTORY_SCHEMA,
      primary,
      finalAliasOf,
      steps,
      layers,
      categories,
      strengths,
      contexts,
      margin,
      skipped,
      noiseFloor,
      measurement,
    },
  }
}

/** The bytes of `trajectory.json` and their hash: equal trajectories, equal bytes. */
export function encodeTrajectory(
  trajectory: Trajectory,
  pack: { sha256: string },
): { text: string; sha256: string } {
  const text = `${JSON.stringify(trajectoryDocument(trajectory, pack), null, 1)}\n`
  return { text, sha256: sha256(text) }
}

function referenceEntry(step: Step, traits: string[], layer: LayerTrajectory, index: number): ReferenceEntry {
  const values = layer.projections[index]!
  return {
    step,
    projections: Object.fromEntries(traits.map((trait, t) => [trait, values[t]!])),
    projections_normalized: Object.fromEntries(
      traits.map((trait, t) => [trait, values[t]! / layer.step0ActivationNorm]),
    ),
  }
}
