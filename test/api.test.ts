import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import * as estimators from '../lib/estimators/index.js'
import * as evaluation from '../lib/evaluation/index.js'
import * as traitscope from '../lib/index.js'
import { packageRoot } from '../lib/package.js'
// @ts-expect-error a script without types
import { apiPage, PAGE, parseComment } from '../scripts/api-page.mjs'
// @ts-expect-error a script without types
import { publicApi } from '../scripts/public-api.mjs'

/** What users may import and use as values. A change of this list is a decision, and one for CHANGELOG.md. */
const VALUES: Record<string, { names: string; module: object }> = {
  traitscope: {
    module: traitscope,
    names: `
      openModel openCheckpoint readPeftAdapter mergeAdapter convertModel scanRunFolder inspectPath
      hiddenStates ChatTemplate readChatTemplate chatTokens evaluationPrompts
      generateText scoreText
      CORE_TRAITS loadTraitPack selectTraits extractDirections loadDirections saveDirections directionVector
      steer steeringVector readControlVector writeControlVector chooseLayer saveLayerChoice loadSteeringSuite
      loadPassages sequenceRatio
      measureRun contextsFrom readTrajectory trajectoryDocument drift trajectoryMargins
      watchRun watchRuns watchEventJson EventReader listStates defaultStateDir
      labelRun readQuestions EndpointJudge ggufJudge openFittedJudge checkJudge readKnownAnswers assertSoundJudge readGrades
      marginRun readMarginPairs
      loadBundle trajectoryVerdicts settlingIn conditional contextReadings ordinaryRuns loadPrior priorVerdictSource
      trajectoryPrior
      scanLabelledRuns calibrate calibrateBenign saveBundle
      htmlReport readReportRun
      ERROR_CODES isTraitscopeError TraitscopeError diagnose checkDevices`,
  },
  'traitscope/evaluation': {
    module: evaluation,
    names: `
      evaluateRuns evaluationRows evaluationWarnings furtherTables TABLE_HEADER saveEvaluation
      runGeometry driftGeometry loadingsChart planeChart saveGeometry`,
  },
  'traitscope/estimators': {
    module: estimators,
    names: `
      Ridge PlsRegression RandomForest GradientBoosting Isotonic regressorFromJSON
      LogisticRegression RandomForestClassifier
      Standardizer Pca`,
  },
}

interface Item {
  name: string
  value: boolean
  comment: string
}
interface Api {
  entries: { name: string; sections: { title: string; lead: string; items: Item[] }[] }[]
  unexported: string[]
}

let api: Api
beforeAll(() => {
  api = publicApi()
})
const itemsOf = (entry: Api['entries'][number]) => entry.sections.flatMap(({ items }) => items)

describe('the public names', () => {
  it('should be these values, in every entry of package.json', () => {
    expect(api.entries.map(({ name }) => name)).toEqual(Object.keys(VALUES))
    for (const entry of api.entries) {
      const { names, module } = VALUES[entry.name]!
      const wanted = names.trim().split(/\s+/)
      const declared = itemsOf(entry).filter(({ value }) => value)
      expect(declared.map(({ name }) => name)).toEqual(wanted)
      expect(Object.keys(module).sort()).toEqual([...wanted].sort())
    }
  })

  it('should include every type that a public declaration names', () => {
    expect(api.unexported).toEqual([])
  })

  it('should each have a summary, types too', () => {
    const items = api.entries.flatMap(itemsOf)
    expect(items.length).toBeGreaterThan(100)
    const silent = items.filter(({ comment }) => parseComment(comment).summary === '')
    expect(silent.map(({ name }) => name)).toEqual([])
  })
})

describe('docs/api.md', () => {
  const page = () => readFileSync(PAGE, 'utf8')

  it('should be what `node scripts/api-page.mjs` writes now', () => {
    expect(existsSync(PAGE)).toBe(true)
    expect(page() === apiPage(api), 'run `node scripts/api-page.mjs`').toBe(true)
  })

  it('should send nobody to a function that the package does not export', () => {
    const lib = join(packageRoot, 'lib')
    const sources = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.ts'),
    )
    const internal = sources
      .flatMap((name) => [
        ...readFileSync(join(lib, name), 'utf8').matchAll(/^export (?:async )?function (\w+)/gm),
      ])
      .map(([, name]) => name!)
      // One that is a word of English may be meant as one.
      .filter((name) => /[a-z][A-Z]/.test(name) && !new RegExp(`^#### ${name}$`, 'm').test(page()))
    expect(internal.length).toBeGreaterThan(100)
    expect(internal.filter((name) => page().includes(`\`${name}\``))).toEqual([])
  })

  it('should lead to headings that it has', () => {
    const headings = [...page().matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      title!.toLowerCase().replaceAll(' ', '-'),
    )
    const links = [...page().matchAll(/\]\(#([^)]+)\)/g)].map(([, to]) => to!)
    expect(links.length).toBeGreaterThan(50)
    expect(links.filter((to) => !headings.includes(to))).toEqual([])
    expect(headings.filter((title, i) => headings.indexOf(title) !== i)).toEqual([])
  })

  it('should show parameters, results and errors apart from the summary', () => {
    const comment = `/**
     * Adds. See {@link Other}.
     *
     * @param a the first, in m
     * of length
     * @returns the sum @throws TraitscopeError USAGE
     * @internal
     */`
    expect(parseComment(comment)).toEqual({
      summary: 'Adds. See {@link Other}.',
      tags: [
        { tag: 'param', text: 'a the first, in m\nof length' },
        { tag: 'returns', text: 'the sum' },
        { tag: 'throws', text: 'TraitscopeError USAGE' },
      ],
    })
  })
})

describe('options', () => {
  /** Objects that pass for what the calls are given, and an option that none of them has. */
  const model = { fingerprint: '' } as never
  const directions = { vectors: [] } as never
  const pack = { evalPrompts: [] } as never
  const misspelt = { misspelt: 1 } as never
  const none = {} as never
  const [e, v, t] = [estimators, evaluation, traitscope]
  const calls: Record<string, () => unknown> = {
    openModel: () => t.openModel('a', misspelt),
    openCheckpoint: () => t.openCheckpoint(model, 'a', misspelt),
    readPeftAdapter: () => t.readPeftAdapter('a', misspelt),
    mergeAdapter: () => t.mergeAdapter('a', 'b', 'c', misspelt),
    convertModel: () => t.convertModel('a', 'b', misspelt),
    scanRunFolder: () => t.scanRunFolder('a', misspelt),
    inspectPath: () => t.inspectPath('a', misspelt),
    hiddenStates: () => t.hiddenStates(model, [], misspelt),
    'new ChatTemplate': () => new t.ChatTemplate('', misspelt),
    generateText: () => t.generateText(model, [], misspelt),
    scoreText: () => t.scoreText(model, [], [], misspelt),
    extractDirections: () => t.extractDirections(model, pack, misspelt),
    saveDirections: () => t.saveDirections(directions, 'a', misspelt),
    steer: () => t.steer(model, directions, [], misspelt),
    readControlVector: () => t.readControlVector('a', misspelt),
    writeControlVector: () => t.writeControlVector({ vectors: new Map() } as never, 'a', misspelt),
    chooseLayer: () => t.chooseLayer(model, pack, misspelt),
    saveLayerChoice: () => t.saveLayerChoice(none, 'a', misspelt),
    measureRun: () => t.measureRun(model, directions, 'a', misspelt),
    contextsFrom: () => t.contextsFrom(misspelt, none),
    drift: () => t.drift({ steps: [] } as never, misspelt),
    watchRun: () => t.watchRun(model, directions, 'a', misspelt).next(),
    watchRuns: () => t.watchRuns(model, directions, ['a'], misspelt).next(),
    labelRun: () => t.labelRun(model, 'a', misspelt),
    'new EndpointJudge': () => new t.EndpointJudge(misspelt),
    ggufJudge: () => t.ggufJudge(model, misspelt),
    openFittedJudge: () => t.openFittedJudge('a', misspelt),
    checkJudge: () => t.checkJudge({ grade: 1 } as never, none, misspelt),
    assertSoundJudge: () => t.assertSoundJudge([], misspelt),
    marginRun: () => t.marginRun(model, 'a', misspelt),
    trajectoryVerdicts: () =>
      t.trajectoryVerdicts({ detector: {} } as never, { steps: [] } as never, misspelt),
    scanLabelledRuns: () => t.scanLabelledRuns('a', misspelt),
    calibrate: () => t.calibrate([], misspelt),
    saveBundle: () => t.saveBundle(none, none, 'a', misspelt),
    htmlReport: () => t.htmlReport([], misspelt),
    evaluateRuns: () => v.evaluateRuns('a', misspelt),
    saveEvaluation: () => v.saveEvaluation(none, 'a', misspelt),
    runGeometry: () => v.runGeometry('a', misspelt),
    driftGeometry: () => v.driftGeometry([], misspelt),
    saveGeometry: () => v.saveGeometry(none, 'a', misspelt),
    'new Ridge': () => new e.Ridge(misspelt),
    'new PlsRegression': () => new e.PlsRegression(misspelt),
    'new RandomForest': () => new e.RandomForest(misspelt),
    'new GradientBoosting': () => new e.GradientBoosting(misspelt),
    'new LogisticRegression': () => new e.LogisticRegression(misspelt),
    'new RandomForestClassifier': () => new e.RandomForestClassifier(misspelt),
    'new Pca': () => new e.Pca(misspelt),
  }

  it('should be tried of every call that has some', () => {
    const page = readFileSync(PAGE, 'utf8')
    const blocks = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code!)
    const taking = blocks.flatMap((code) => {
      const [, kind, name] = /^(function|class) (\w+)/.exec(code) ?? []
      if (kind === 'function') return /options/i.test(code) ? [name] : []
      return kind === 'class' && /constructor\([^;]*options/.test(code) ? [`new ${name}`] : []
    })
    // Those of an error are JavaScript's own.
    expect(taking.filter((name) => name !== 'new TraitscopeError').sort()).toEqual(Object.keys(calls).sort())
  })

  it.each(Object.entries(calls))('should be refused where they are no options of %s', async (_, call) => {
    await expect((async () => call())()).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/^expected options that .* has \(.*\), found misspelt$/),
    })
  })
})
