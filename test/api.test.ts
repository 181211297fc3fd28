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
