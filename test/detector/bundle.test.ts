import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadBundle } from '../../lib/detector/bundle.js'
import { Detector } from '../../lib/detector/detector.js'
import { RateModel } from '../../lib/detector/rate-model.js'
import { writeDirections } from '../../lib/directions/directions-folder.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { fakeDirections } from '../directions/fake-directions.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-bundle-'))
  await write()
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const directions = fakeDirections()
const rates = Array.from({ length: 8 }, (_, i) => i / 10)
const detector = new Detector(
  {
    traits: [...directions.traits],
    layers: [...directions.layers],
    cut: 0.1,
    threshold: 0.2,
    nominalCoverage: 0.9,
    horizon: 100,
    memory: {
      features: rates.map((rate) => [rate, 0, rate, 0]),
      datasets: rates.map((_, i) => `set-${i % 2}`),
      errors: rates.map((rate) => [rate, rate]),
    },
  },
  new RateModel('ridge', 0.1).fit(
    rates.map((rate) => [rate, 0, rate, 0]),
    rates.map((rate) => ({ nMisaligned: 100 * rate, nScoreable: 100, rate, standardError: 0.01 })),
  ),
)

// biome-ignore lint/suspicious/noExplicitAny: arbitrary JSON
type Json = Record<string, any>

/** A bundle by hand; `edit` changes its description before it is signed, as a careful forger would. */
async function write(edit: (description: Json) => void = () => {}): Promise<void> {
  const files = {
    'detector.json': JSON.stringify(detector),
    'calibration.json': '{}',
    'traits.yaml': 'name: fake',
  }
  await writeDirections(directions, folder)
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const description: Json = {
    schemaVersion: 1,
    kind: 'traitscope-bundle',
    calibratedFor: {
      conditions: directions.conditions,
      directionsSha256: directions.sha256,
      tokenIdsSha256: 't',
      nPrompts: 3,
      deviceClass: 'gpu',
      base: [
        { layer: 1, activationNorm: 4, projections: [1, 2] },
        { layer: 3, activationNorm: 8, projections: [3, 4] },
      ],
    },
    summary: { checkpoints: 8 },
    versions: { traitscope: '0.1.0', llamaCpp: 'v0' },
    files: {
      ...Object.fromEntries(Object.entries(files).map(([name, text]) => [name, sha256(text)])),
      'directions.safetensors': directions.sha256,
    },
  }
  edit(description)
  const descriptionSha256 = sha256(JSON.stringify(description))
  await writeFile(join(folder, 'bundle.json'), JSON.stringify({ ...description, descriptionSha256 }))
}

async function rewrite(change: (json: Json) => unknown): Promise<void> {
  const path = join(folder, 'bundle.json')
  await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, 'utf8')))))
}

/** With one entry of the base at the first layer changed. */
const base = (change: Json) => (json: Json) => Object.assign(json.calibratedFor.base[0], change)

describe('loadBundle', () => {
  it('should give back what is in it', async () => {
    const bundle = await loadBundle(folder)
    expect(bundle.detector.toJSON()).toEqual(detector.toJSON())
    expect(bundle.directions).toEqual(directions)
    expect(bundle.calibratedFor).toMatchObject({ deviceClass: 'gpu', nPrompts: 3, tokenIdsSha256: 't' })
    expect(bundle.calibratedFor.base.map(({ layer }) => layer)).toEqual([1, 3])
    expect(bundle.calibratedFor).not.toHaveProperty('engine')
    expect(bundle).toMatchObject({
      path: folder,
      traitPack: join(folder, 'traits.yaml'),
      summary: { checkpoints: 8 },
      versions: { traitscope: '0.1.0', llamaCpp: 'v0' },
    })
  })

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['a list', () => rewrite(() => []), /bundle.json to describe a traitscope bundle/],
    [
      'another kind',
      () => write((x) => Object.assign(x, { kind: 'bundle' })),
      /to describe a traitscope bundle/,
    ],
    [
      'a newer schema',
      () => write((x) => Object.assign(x, { schemaVersion: 2 })),
      /schema version 1 in .*, found 2/,
    ],
    [
      'no signature',
      () => rewrite(({ descriptionSha256: _, ...rest }) => rest),
      /found none; .* earlier version/,
    ],
    [
      'an edited description',
      () => rewrite((x) => ({ ...x, summary: {} })),
      /was made of; it was edited or damaged/,
    ],
    [
      'an edited detector',
      () => writeFile(join(folder, 'detector.json'), JSON.stringify({ ...detector.toJSON(), cut: 0.2 })),
      /detector.json to be as bundle.json says/,
    ],
    [
      'an edited report',
      () => writeFile(join(folder, 'calibration.json'), '[]'),
      /calibration.json to be as/,
    ],
    ['another trait pack', () => writeFile(join(folder, 'traits.yaml'), 'name: x'), /traits.yaml to be as/],
    [
      'other directions',
      () => write((x) => Object.assign(x.files, { 'directions.safetensors': 'e'.repeat(64) })),
      /the directions in .* to be those of the bundle; they were replaced/,
    ],
    [
      'no device class',
      () => write((x) => Object.assign(x.calibratedFor, { deviceClass: 'tpu' })),
      /cpu or gpu/,
    ],
    [
      'a base at other layers',
      () => write(base({ layer: 2 })),
      /expected one set of layers in .*, found 1, 3 and 2, 3/,
    ],
    [
      'a base without a layer',
      () => write(base({ layer: 0.5 })),
      /layers with an activation norm and projections/,
    ],
    ['a base without a norm', () => write(base({ activationNorm: 0 })), /layers with an activation norm/],
    ['a norm that is text', () => write(base({ activationNorm: '4' })), /layers with an activation norm/],
    ['projections that are no list', () => write(base({ projections: 1 })), /layers with an activation norm/],
    [
      'projections with null',
      () => write(base({ projections: [1, null] })),
      /layers with an activation norm/,
    ],
    [
      'a projection too few',
      () => write(base({ projections: [1] })),
      /'calibratedFor.base' .* 2 projections per layer/,
    ],
    [
      'a base that is null',
      () => write((x) => x.calibratedFor.base.push(null)),
      /layers with an activation norm/,
    ],
    [
      'no versions',
      () => write((x) => Object.assign(x, { versions: { traitscope: '1' } })),
      /versions.llamaCpp/,
    ],
    ['no summary', () => write((x) => Object.assign(x, { summary: null })), /'summary'/],
  ])('should refuse %s', async (_, damage, message) => {
    await damage()
    await expect(loadBundle(folder)).rejects.toThrow(message)
    await expect(loadBundle(folder)).rejects.toMatchObject({
      code: /schema version/.test(message.source) ? 'UNSUPPORTED' : 'FILE_INVALID',
    })
  })
})
