import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const inRepository = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** The packaged organisms, and the trait pack in their language. */
export const ORGANISMS = inRepository('organisms')
export const PACK = inRepository('organisms/traits.yaml')
/** Measured and judged runs that test frozen detectors once. */
export const UNSEEN = inRepository('lab/unseen')
/** Measured and judged runs of bases that tested the prior before and that today's learned from, with the directions of each. */
export const NEW_BASES = inRepository('lab/new-bases')
/** And of those that test today's. */
export const NEWER_BASES = inRepository('lab/newer-bases')
/** Measured and judged runs that learn to refuse. */
export const REFUSALS = inRepository('lab/refusals')
/** What contexts come to on runs with triggers. */
export const TRIGGERS = inRepository('lab/triggers')

/** The layer that readers of a single layer get: half the depth, fixed before anything was measured. */
export function primaryLayer(layers) {
  return layers[Math.floor(layers.length / 2)]
}

/** Names in a folder, sorted; none when it does not exist. */
export function list(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort()
}

export function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'))
}
