import type { JsonFields } from '../formats/json/json-fields.js'
import type { Conditions } from './conditions.js'

export function parseConditions(at: JsonFields): Conditions {
  const base: JsonFields = at.object('base')
  const template: JsonFields = at.object('template')
  const pack = at.object('traitPack')
  const pool = at.text('pool')
  if (pool !== 'last' && pool !== 'mean') at.fail('pool', 'last or mean')
  const systemRole = template.text('systemRole')
  if (systemRole !== 'native' && systemRole !== 'user-turn')
    template.fail('systemRole', 'native or user-turn')
  const name = base.json.name
  if (name !== null && typeof name !== 'string') base.fail('name', 'a string or null')
  return {
    base: {
      fingerprint: base.text('fingerprint'),
      architecture: base.text('architecture'),
      name,
      nLayer: base.count('nLayer'),
      nEmbd: base.count('nEmbd'),
    },
    template: {
      sha256: template.text('sha256'),
      systemRole,
      date: template.text('date'),
      acknowledgement: template.text('acknowledgement'),
    },
    traitPack: {
      name: pack.text('name'),
      sha256: pack.text('sha256'),
      contentHash: pack.text('contentHash'),
    },
    pool,
  }
}
