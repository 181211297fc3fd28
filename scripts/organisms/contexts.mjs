// Measures the runs with triggers and the ordinary ones in the contexts of their own data.
//
//   node scripts/organisms/contexts.mjs --from OUT --to MEASURED [--organism NAME] [--set PATTERN]
//
// OUT is the output of `python -m lab.organisms.triggers`. Writes MEASURED/<organism>/<set>/seed_<seed>/ with trajectory.json,
// and the lab's labels.json and run.json beside it. Runs that are there already are left alone.
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  ChatTemplate,
  contextsFrom,
  loadDirections,
  loadTraitPack,
  measureRun,
  openModel,
} from '../../dist/lib/index.js'
import { list, ORGANISMS, PACK, primaryLayer } from './places.mjs'

const { values } = parseArgs({
  options: {
    from: { type: 'string' },
    to: { type: 'string' },
    organism: { type: 'string' },
    set: { type: 'string', default: '' },
  },
})
const { from, to, set: pattern } = values
if (!from || !to) {
  console.error('--from OUT and --to MEASURED are needed')
  process.exit(2)
}

const pack = await loadTraitPack(PACK)
for (const organism of list(from)) {
  if (values.organism !== undefined && organism !== values.organism) continue
  const runs = join(from, organism, 'runs')
  const todo = list(runs)
    .filter((set) => new RegExp(`^${pattern}`).test(set))
    .flatMap((set) => list(join(runs, set)).map((seed) => join(set, seed)))
    .filter((run) => existsSync(join(runs, run, 'run.json')) && !existsSync(join(to, organism, run)))
  if (todo.length === 0) continue
  const model = await openModel(join(ORGANISMS, 'models', organism, 'base.gguf'))
  const directions = await loadDirections(join(ORGANISMS, 'models', organism, 'directions'))
  const template = ChatTemplate.forModel(model, { acknowledgement: pack.acknowledgement })
  for (const run of todo) {
    const partial = join(to, '.partial', organism, run)
    rmSync(partial, { recursive: true, force: true })
    mkdirSync(join(partial, '..'), { recursive: true })
    const source = join(runs, run)
    const contexts = await contextsFrom({ data: join(source, 'train.jsonl') }, { model, template, pack })
    const { measurement } = await measureRun(model, directions, source, {
      ...{ pack, template, contexts, out: partial, activations: 'none', cacheDir: false },
      layer: primaryLayer(directions.layers),
      run: { model: organism, dataSource: run.split(/[\\/]/)[0] },
    })
    rmSync(join(partial, 'run_manifest.json'))
    for (const file of ['labels.json', 'run.json']) copyFileSync(join(source, file), join(partial, file))
    mkdirSync(join(to, organism, run, '..'), { recursive: true })
    renameSync(partial, join(to, organism, run))
    const { total, computed } = measurement.tokens
    console.error(
      `${organism} ${run}: ${contexts.contexts.length} contexts, ${computed} of ${total} tokens computed`,
    )
  }
  await model.close()
}
