/** What stands on the page of one run, and on that of several, part by part: a live page exchanges parts that have changed. */
import { escapeXml } from './escape.js'
import {
  ageHtml,
  answersHtml,
  checkpointHtml,
  checkpointTable,
  contributionsHtml,
  definitions,
  headlineHtml,
  labelFacts,
  missingWords,
  notesHtml,
  overviewHtml,
  permalink,
  prose,
} from './page-parts.js'
import { planeSvg } from './plane.js'
import type { Backdrop, Point, RunView } from './run-view.js'
import { lastPoint, stepWords } from './sentences.js'

export interface Shown {
  backdrop?: Backdrop | undefined
  /** Judged rates strictly above this are dangerous, in [0, 1]. */
  cut?: number | undefined
  /** Milliseconds since 1970; without it nothing has an age. */
  now?: number | undefined
  selected?: Point['step'] | undefined
  /** Of the table: the last ones only. */
  limit?: number | undefined
  /** False where no script is at work yet. */
  scripted?: boolean | undefined
}

/** Name of a part and its HTML; an empty part is not shown. */
export type Parts = Record<string, string>

const CHARTS = '<div class="charts" data-charts></div>'

/** The parts of one run's section, in their order. */
export function runParts(view: RunView, name: string, shown: Shown): Parts {
  const { backdrop, now, selected } = shown
  const point = view.points.find(({ step }) => step === selected)
  const plane = planeSvg([view], [name], backdrop, selected)
  const made = contributionsHtml(point ?? lastPoint(view))
  const missing = missingWords(view, backdrop)
  return {
    headline: headlineHtml(view),
    age: ageHtml(view, now),
    checkpoint: point === undefined ? '' : checkpointHtml(view, point, shown),
    charts: CHARTS,
    plane:
      plane === ''
        ? ''
        : `<h3>Where the drift leads</h3>${plane}<p class="quiet">${prose(planeWords(backdrop))}</p>`,
    notes: `<h3>Events</h3>${notesHtml(view)}`,
    made: made === '' ? '' : `<h3>What the prediction is made of</h3><div class="pair">${made}</div>`,
    table: `<h3>Checkpoints</h3>${wide('Checkpoints', checkpointTable(view, name, shown))}`,
    read: readFrom(view, shown.limit),
    answers: answersHtml(view),
    facts: `<h3>What was measured</h3>${definitions([['run', view.run], ['traits', view.traits.join(', ')], ['layer shown', `${view.layer ?? 'unknown'} (0-based block output)`], ...view.facts, ...labelFacts(lastPoint(view))])}`,
    missing:
      missing.length === 0
        ? ''
        : `<h3>Not shown</h3><ul>${missing.map((text) => `<li>${prose(text)}</li>`).join('')}</ul>`,
  }
}

/** Which files the numbers are of. */
function readFrom({ points }: RunView, limit = points.length): string {
  const read = points
    .slice(-limit)
    .flatMap(({ step, read }): [string, string][] => (read === undefined ? [] : [[stepWords(step), read]]))
  return read.length === 0 ? '' : `<details><summary>Read from</summary>${definitions(read)}</details>`
}

const planeWords = (backdrop: Backdrop | undefined): string =>
  `The run in colour, ${backdrop?.plane?.ghosts.length ?? 0} calibration runs behind it: benign ones solid, dangerous ones dashed. One scale on both axes.`

/** The parts of a page on several runs. */
export function compareParts(
  views: readonly RunView[],
  names: readonly string[],
  { backdrop, now }: Shown,
): Parts {
  const plane = planeSvg(views, names, backdrop)
  return {
    overview: wide('Runs', overviewHtml(views, names, now)),
    charts: CHARTS,
    plane:
      plane === ''
        ? ''
        : `<h3>Where the drifts lead</h3>${plane}<p class="quiet">${prose(planeWords(backdrop).replace('The run', 'The runs'))}</p>`,
  }
}

/** Parts in their places. The sentence of a run is read out when it changes. */
export function sectionHtml(parts: Parts): string {
  return Object.entries(parts)
    .map(
      ([part, html]) =>
        `<div data-part="${part}"${part === 'headline' ? ' aria-live="polite"' : ''}>${html}</div>`,
    )
    .join('\n')
}

export const runHeading = (name: string): string => `<h2>${escapeXml(name)}</h2>`

/** Ways to the other runs of the page. */
export function runLinks(names: readonly string[], current: string | undefined): string {
  if (names.length < 2) return ''
  const link = (href: string, text: string, here: boolean) =>
    `<a href="${escapeXml(href)}"${here ? ' aria-current="page"' : ''}>${escapeXml(text)}</a>`
  return [
    link('#', 'all runs', current === undefined),
    ...names.map((name) => link(permalink(name), name, name === current)),
  ].join('')
}

/** A region of its own that may be wider than the page, and that the keyboard can scroll. */
const wide = (label: string, html: string): string =>
  `<div class="wide" role="region" aria-label="${label}" tabindex="0">${html}</div>`
