import { describe, expect, it } from 'vitest'
import { isTraitscopeError } from '../../../lib/errors.js'
import * as api from '../../../lib/index.js'
import { TINY_BASE, TINY_PACK, TINY_RUN } from '../../helpers/tiny.js'

// From JavaScript a variable that is not set arrives as undefined, and from a shell as an empty text, which names the working directory.

type Path = Parameters<typeof api.openModel>[0]
const READERS: [string, (path: Path) => unknown][] = [
  ['openModel', (path) => api.openModel(path)],
  ['readPeftAdapter', (path) => api.readPeftAdapter(path)],
  ['mergeAdapter, base', (path) => api.mergeAdapter(path, TINY_RUN, 'merged.gguf')],
  ['mergeAdapter, adapter', (path) => api.mergeAdapter(TINY_BASE, path, 'merged.gguf')],
  ['mergeAdapter, out', (path) => api.mergeAdapter(TINY_BASE, TINY_RUN, path)],
  ['convertModel', (path) => api.convertModel(path, 'base.gguf')],
  ['scanRunFolder', (path) => api.scanRunFolder(path)],
  ['inspectPath', (path) => api.inspectPath(path)],
  ['readChatTemplate', (path) => api.readChatTemplate(path)],
  ['loadTraitPack', (path) => api.loadTraitPack(path)],
  ['loadDirections', (path) => api.loadDirections(path)],
  ['readControlVector', (path) => api.readControlVector(path)],
  ['readTrajectory', (path) => api.readTrajectory(path)],
  ['EventReader', async (path) => new api.EventReader(path)],
  ['listStates', (path) => api.listStates(path)],
  ['readKnownAnswers', (path) => api.readKnownAnswers(path)],
  ['openFittedJudge', (path) => api.openFittedJudge(path)],
  ['readGrades', (path) => api.readGrades(path)],
  ['readMarginPairs', (path) => api.readMarginPairs(path)],
  ['loadBundle', (path) => api.loadBundle(path)],
  ['scanLabelledRuns', (path) => api.scanLabelledRuns(path)],
  ['readReportRun', (path) => api.readReportRun(path)],
]

describe('a path that is not there', () => {
  it.each(READERS)('should be refused by %s, empty or undefined', async (_, read) => {
    for (const [path, found] of [
      ['', 'an empty one'],
      [undefined, 'undefined'],
    ] as [Path, string][]) {
      const error = await (async () => read(path))().then(
        () => undefined,
        (cause: unknown) => cause,
      )
      expect(isTraitscopeError(error, 'USAGE') ? error.message : error).toMatch(
        new RegExp(`^expected the path of .+, found ${found}: `),
      )
    }
  })

  it('should be refused by what takes a model, and so should a missing trait pack or missing directions', async () => {
    const pack = await api.loadTraitPack(TINY_PACK)
    const model = await api.openModel(TINY_BASE, { threads: 1 })
    try {
      const directions = await api.extractDirections(model, pack, { layers: [1], probes: false })
      const none = undefined as never
      const calls: [() => Promise<unknown>, RegExp][] = [
        [() => model.attach(none), /path of weights/],
        [() => api.openCheckpoint(model, none), /path of weights/],
        [() => api.measureRun(model, directions, none, { pack }), /path of a run/],
        [
          () => api.measureRun(model, directions, TINY_RUN, { pack, out: '' }),
          /out of measureRun to be a path/,
        ],
        [
          () => api.measureRun(model, directions, TINY_RUN, { pack, cacheDir: '' }),
          /cacheDir of measureRun to be a path/,
        ],
        [() => api.saveDirections(directions, none), /path of an output/],
        [
          () => api.measureRun(model, directions, TINY_RUN, {} as never),
          /the option pack of measureRun.*none/,
        ],
        [
          () => api.measureRun(model, directions, TINY_RUN, { pack: TINY_PACK } as never),
          /a trait pack.*found the text/,
        ],
        [() => api.measureRun(model, none, TINY_RUN, { pack }), /expected directions/],
        [() => api.watchRun(model, directions, '', { pack })[Symbol.asyncIterator]().next(), /path of a run/],
      ]
      for (const [call, message] of calls) {
        const error = await call().catch((cause: unknown) => cause)
        expect(isTraitscopeError(error, 'USAGE') ? error.message : error).toMatch(message)
      }
    } finally {
      await model.close()
    }
  })
})
