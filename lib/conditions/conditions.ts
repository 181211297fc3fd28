import type { Model } from '../model/model.js'
import type { ChatTemplate, SystemRole } from '../prompts/chat-template.js'
import type { TraitPack } from '../prompts/trait-pack-yaml.js'

/** Everything that decides whether numbers can be compared: what was read, and how. */
export interface Conditions {
  base: {
    /** Identity of the GGUF, as `Model.fingerprint`. */
    fingerprint: string
    architecture: string
    name: string | null
    nLayer: number
    nEmbd: number
  }
  template: { sha256: string; systemRole: SystemRole; date: string; acknowledgement: string }
  /** `contentHash` covers what reaches the model, `sha256` the file's bytes. */
  traitPack: { name: string; sha256: string; contentHash: string }
  /** `last`: the last input token; `mean`: all input tokens. */
  pool: 'last' | 'mean'
}

/** The conditions under which this model, template and pack are being read. */
export function measurementConditions(
  model: Pick<Model, 'fingerprint' | 'info'>,
  template: ChatTemplate,
  pack: TraitPack,
  pool: 'last' | 'mean',
): Conditions {
  const { architecture, name = null, nLayer, nEmbd } = model.info
  const { sha256: templateSha256, systemRole, date, acknowledgement } = template
  return {
    base: { fingerprint: model.fingerprint, architecture, name, nLayer, nEmbd },
    template: { sha256: templateSha256, systemRole, date, acknowledgement },
    traitPack: { name: pack.name, sha256: pack.sha256, contentHash: pack.contentHash },
    pool,
  }
}
