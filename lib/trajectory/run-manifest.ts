import { packageVersion } from '../package.js'
import type { Trajectory } from './trajectory.js'

/**
 * The object of `run_manifest.json`: the reference's fields (method section 5.4), null where a measurement
 * from outside cannot know, and under `traitscope` the hashes of all inputs and outputs.
 *
 * @param outputs SHA-256 by file name
 */
export function runManifest(
  trajectory: Trajectory,
  pack: { name: string; sha256: string; contentHash: string },
  outputs: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const { run, measurement, traits, layers, primary, steps, margin } = trajectory
  const adapter = steps.find((step) => step.adapter)?.adapter
  return {
    schema_version: 1,
    model: run.model,
    model_id: null,
    model_revision: null,
    data_source: run.dataSource,
    data_sha256: null,
    seed: run.seed,
    sample_seed: null,
    n_samples: run.nSamples,
    lr: run.lr,
    epochs: run.epochs,
    full_finetune: run.fullFinetune,
    lora_rank: run.loraRank,
    lora_alpha: run.loraAlpha,
    measurement_layer: layers[primary]!.layer,
    direction_bundle_sha256: measurement?.directionsSha256 ?? null,
    direction_sha256: measurement?.directionsSha256 ?? null,
    trait_order: traits,
    save_steps: run.saveSteps,
    max_steps: run.maxSteps,
    early_update_steps: run.earlyUpdateSteps,
    training: {
      per_device_train_batch_size: null,
      gradient_accumulation_steps: null,
      weight_decay: null,
      max_sequence_length: null,
      lora_dropout: null,
      lora_target_modules: adapter?.targets ?? null,
    },
    eval_prompt_config_sha256: pack.sha256,
    software: { traitscope: packageVersion, 'llama.cpp': measurement?.versions.llamaCpp ?? null },
    traitscope: {
      inputs: {
        base: measurement?.conditions.base ?? null,
        template: measurement?.conditions.template ?? null,
        traitPack: { name: pack.name, sha256: pack.sha256, contentHash: pack.contentHash },
        directions: measurement?.directionsSha256 ?? null,
        tokenIds: measurement?.tokenIdsSha256 ?? null,
        engine: measurement?.engine ?? null,
        ...(margin ? { pairs: { file: margin.file, sha256: margin.sha256 } } : {}),
        adapters: steps
          .filter(({ adapterSha256 }) => adapterSha256 !== null)
          .map(({ step, adapterSha256, files = [], remarks = [] }) => ({
            step,
            sha256: adapterSha256,
            files,
            remarks,
          })),
        remarks: measurement?.remarks ?? [],
      },
      outputs,
    },
  }
}
