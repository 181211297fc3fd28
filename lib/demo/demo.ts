import type { Bundle } from '../detector/bundle.js'
import type { Model } from '../model/model.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'
import type { DemoOutcome, DemoRun } from './demo-run.js'

/** Runs as far as they have been watched. */
export interface Demo {
  organism: string
  bundle: Bundle
  runs: readonly DemoRun[]
  /** Of each run. */
  outcomes: readonly DemoOutcome[]
}

/** What a demo needs of its open model, bundle and folders. */
export interface DemoSetting {
  model: Model
  bundle: Bundle
  pack: TraitPack
  /** Where the runs are replayed to; it goes when the demo ends. */
  folder: string
}
