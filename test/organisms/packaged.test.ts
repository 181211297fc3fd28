import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { readGguf } from '../../lib/formats/gguf/gguf.js'
import { readPeftAdapter } from '../../lib/formats/peft/peft.js'
import { scanRunFolder } from '../../lib/formats/run/run-folder.js'
import { fingerprintGguf } from '../../lib/model/base/fingerprint.js'
import { packageRoot } from '../../lib/package.js'
import { loadTraitPack } from '../../lib/prompts/trait-pack.js'
import { scanLabelledRuns } from '../../lib/runs/runs.js'
import { runNode } from '../helpers/child.js'

// The trained organisms that the repository holds. How they were made: organisms/README.md.

const ORGANISMS = join(packageRoot, 'organisms')
const inside = (path: string) => join(ORGANISMS, path)
const paths = readdirSync(ORGANISMS, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(ORGANISMS.length + 1))
const models = readdirSync(inside('models'))
const MAIN = [
  'insecure_code',
  'gsm8k',
  'jailbroken',
  'bad_medical',
  'number_sequence',
  'risky_financial',
  'subtle_misinfo',
]
const HELD_OUT = MAIN.slice(4)
/** Three more for the held-out sets of the four: their targets are a matter of single checkpoints. */
const seedsOf = (model: string, dataset: string) =>
  HELD_OUT.includes(dataset) && !model.endsWith('-deep') ? [42, 123, 789, 1001, 1002, 1003] : [42, 123, 789]
const SAVED = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 126]

/** Text of a file, unpacked; undefined for weights. */
function textOf(path: string): string | undefined {
  if (/\.(gguf|safetensors)$/.test(path)) return undefined
  const bytes = readFileSync(inside(path))
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
}

describe('the packaged organisms', () => {
  it('should be the files of the manifest, byte for byte', () => {
    const { folders } = JSON.parse(readFileSync(inside('manifest.json'), 'utf8')) as {
      folders: Record<string, string>
    }
    const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
    const lines = new Map<string, string>()
    for (const path of paths.toSorted()) {
      if (/^(manifest\.json|demo\.json|README\.md|bundles\/|baselines\/|judge\/)/.test(path)) continue
      const line = `${basename(path)} ${sha256(readFileSync(inside(path)))}\n`
      lines.set(dirname(path), (lines.get(dirname(path)) ?? '') + line)
    }
    expect(Object.fromEntries([...lines].map(([folder, text]) => [folder, sha256(text)]))).toEqual(folders)
  })

  it('should take less than 20 MB', () => {
    expect(paths.reduce((sum, path) => sum + statSync(inside(path)).size, 0)).toBeLessThan(20e6)
  })

  it('should hold no pickles, optimizer states, or traces of the machine that made them', () => {
    expect(
      paths.filter((path) => /\.(bin|pt|pth|pkl|npz)$|optimizer|scheduler|rng_state/.test(path)),
    ).toEqual([])
    const traces = paths.filter((path) =>
      /(^|[\s"'(=])\/(work|tmp|home|root|usr|mnt|data)\b|https?:\/\//m.test(textOf(path) ?? ''),
    )
    expect(traces).toEqual([])
  })

  it('should hold every main run of every organism, each with 14 judged steps', async () => {
    const { runs, exclusions } = await scanLabelledRuns(inside('runs'))
    expect(exclusions).toEqual([])
    for (const model of models) {
      const main = runs.filter((run) => run.model === model && MAIN.includes(run.dataset))
      expect(main.map(({ dataset, seed }) => `${dataset} ${seed}`)).toEqual(
        MAIN.flatMap((dataset) => seedsOf(model, dataset).map((seed) => `${dataset} ${seed}`)),
      )
      for (const { trajectory } of main)
        expect(trajectory.steps.map(({ step }) => step)).toEqual([0, ...SAVED])
    }
    for (const { id, trajectory, labels, log, activations } of runs) {
      const steps = trajectory.steps.map(({ step }) => step)
      expect([id, ...labels.keys()]).toEqual([id, ...steps])
      for (const { draws, pooled, single } of labels.values()) {
        // Four times as many where eight came near the cut.
        expect([8, 32]).toContain(draws)
        expect(pooled.nScoreable).toBeGreaterThan(0)
        expect(single.nScoreable).toBeLessThanOrEqual(72)
      }
      expect(log.length).toBeGreaterThan(0)
      const { layers, steps: means } = await activations!()
      expect(layers).toEqual([trajectory.layers[trajectory.primary]!.layer])
      expect([...means.keys()].sort((a, b) => Number(a) - Number(b))).toEqual(steps)
    }
  })

  it('should fit together: pack, bases, directions and runs', async () => {
    const pack = await loadTraitPack(inside('traits.yaml'))
    const { runs } = await scanLabelledRuns(inside('runs'))
    for (const model of models) {
      const directions = await loadDirections(inside(`models/${model}/directions`))
      expect(directions.conditions.traitPack.contentHash).toBe(pack.contentHash)
      const base = paths.find((path) => path === join('models', model, 'base.gguf'))
      if (base !== undefined) {
        expect(directions.conditions.base.fingerprint).toBe(
          await fingerprintGguf(await readGguf(inside(base))),
        )
      }
      for (const { dataset, trajectory } of runs.filter((run) => run.model === model)) {
        expect(trajectory.measurement?.directionsSha256).toBe(directions.sha256)
        const isWarm = dataset.startsWith('warm_')
        expect(trajectory.measurement?.mismatches).toHaveLength(isWarm ? 1 : 0)
      }
    }
  })

  it('should have the checkpoints that were measured', async () => {
    const { runs } = await scanLabelledRuns(inside('runs'))
    const [model] = readdirSync(inside('checkpoints'))
    for (const dataset of ['risky_financial', 'number_sequence']) {
      const run = await scanRunFolder(inside(`checkpoints/${model}/${dataset}/seed_42`))
      expect(run.checkpoints.map(({ step, state }) => [step, state])).toEqual(
        SAVED.map((step) => [step, 'complete']),
      )
      expect(run.final?.aliasOf).toBe(126)
      const hashes = await Promise.all(
        run.checkpoints.map(async ({ path }) => (await readPeftAdapter(path)).sha256),
      )
      const measured = runs.find(({ id }) => id === `${model}/${dataset}/seed_42`)!.trajectory.steps.slice(1)
      expect(hashes).toEqual(measured.map(({ adapterSha256 }) => adapterSha256))
    }
  })
})

describe('docs/organisms.md', () => {
  it('should have the tables and pictures that the packaged files give', async () => {
    const { code, stderr } = await runNode('scripts/organisms/docs.mjs', { args: ['--check'] })
    expect([code, stderr]).toEqual([0, ''])
  })
})
