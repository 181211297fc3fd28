/**
 * Parts of the page as HTML text, the same ones when a report is written and when a live page shows what has come. Every text
 * is escaped: names and reasons are made of what files say.
 */
import { why } from '../detector/driven-by.js'
import { describeVerdictLabels } from '../labels/label-words.js'
import { marginText } from '../labels/margins/margin-words.js'
import type { MarginChange } from '../labels/margins/margins.js'
import { inPercent, percent, percentAt } from '../percent.js'
import { behind, outsideBand } from './benign-band.js'
import { escapeXml } from './escape.js'
import type { Backdrop, Note, Point, RunView } from './run-view.js'
import {
  ageWords,
  headline,
  healthWords,
  intervalFact,
  intervalText,
  lastPoint,
  rateText,
  type Standing,
  standingWords,
  stepWords,
  verdictWords,
} from './sentences.js'

/** Escaped, and no line ends between a number and its percent sign. */
export const prose = (text: string): string => escapeXml(text).replace(/(\d) %/g, '$1&#160;%')

/** A shape per verdict beside its word and colour, so that none of them stands alone. */
const SHAPES: Record<Standing, string> = {
  ok: '<circle cx="8" cy="8" r="6"/>',
  warn: '<path d="M8 1.5 15 14H1z"/>',
  alarm: '<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/>',
  'not-comparable': '<path d="M3 3l10 10M13 3L3 13" fill="none" stroke="currentColor" stroke-width="3"/>',
  none: '<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2"/>',
}

const shape = (standing: Standing): string =>
  `<svg class="shape" viewBox="0 0 16 16" aria-hidden="true">${SHAPES[standing]}</svg>`

const badge = (standing: Standing, words: string = standing): string =>
  `<span class="v ${standing}">${shape(standing)}${standing === 'none' ? 'no verdict' : words}</span>`

/** Address of a run, or of a checkpoint of it, within the page. */
export const permalink = (name: string, step?: Point['step']): string =>
  `#${[name, ...(step === undefined ? [] : [String(step)])].map(encodeURIComponent).join('/')}`

/** The sentence that comes first, and why. */
export function headlineHtml(view: RunView): string {
  const { standing, text, reasons } = headline(view)
  const why = reasons.length === 0 ? '' : `<p class="why">${prose(sentence(reasons.join('; ')))}</p>`
  return `<p class="headline ${standing}">${shape(standing)}<span>${prose(text)}</span></p>${why}`
}

/** How old that is, and what is wrong with the watch. @param now milliseconds since 1970; without it nothing has an age */
export function ageHtml(view: RunView, now: number | undefined): string {
  const age = now === undefined ? undefined : ageWords(view, now)
  const parts = [...(age === undefined ? [] : [age]), ...healthWords(view)]
  return parts.length === 0 ? '' : `<p class="age">${parts.map(prose).join(' · ')}</p>`
}

const sentence = (text: string) => `${capital(text)}.`

/** Columns of words. */
const LEFT = ['verdict', 'last checkpoint']

const headCell = (text: string) =>
  `<th scope="col"${LEFT.includes(text) ? ' class="left"' : ''}>${escapeXml(text)}</th>`

/** One line per run: how it stands, with a link to it. */
export function overviewHtml(
  views: readonly RunView[],
  names: readonly string[],
  now: number | undefined,
): string {
  const rows = views.map((view, i) => {
    const { standing } = headline(view)
    const point = lastPoint(view)
    const age = now === undefined ? undefined : ageWords(view, now)
    const cells = [
      `<th scope="row"><a href="${escapeXml(permalink(names[i]!))}">${escapeXml(names[i]!)}</a></th>`,
      `<td class="left">${badge(standing, standingWords(standing, point?.verdict))}</td>`,
      `<td>${point === undefined ? '-' : escapeXml(String(point.step))}</td>`,
      `<td>${prose(rateText(point?.verdict))}</td>`,
      `<td>${prose(intervalText(point?.verdict))}</td>`,
      `<td>${prose(percent(point?.length))}</td>`,
      ...(age === undefined ? [] : [`<td class="text">${prose(age)}</td>`]),
    ]
    return `<tr>${cells.join('')}</tr>`
  })
  const head = ['run', 'verdict', 'step', 'predicted EM', 'interval', 'drift length']
  if (now !== undefined && views.some((view) => ageWords(view, now) !== undefined))
    head.push('last checkpoint')
  return `<table><thead><tr>${head.map(headCell).join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table>`
}

/** Judged above `cut` is dangerous; nobody knows what is without one. */
const judgedText = ({ rate }: { rate: number }, cut: number | undefined): string =>
  cut === undefined ? percent(rate) : percentAt(cut, rate)

/** Every measured step. @param limit the last ones only; the others are counted, and offered where there is a script */
export function checkpointTable(
  view: RunView,
  name: string,
  {
    limit,
    selected,
    scripted = true,
    cut,
  }: {
    limit?: number | undefined
    selected?: Point['step'] | undefined
    scripted?: boolean | undefined
    cut?: number | undefined
  } = {},
): string {
  const { points } = view
  const verdicts = points.some(({ verdict }) => verdict)
  const judged = points.some((point) => point.judged)
  const margins = points.some(({ margin }) => margin)
  const amplified = points.find(({ strengths }) => strengths)?.strengths ?? []
  const header = [
    'step',
    ...(verdicts ? ['verdict', 'predicted EM', 'interval'] : []),
    ...(judged ? ['judged EM'] : []),
    ...(margins ? ['margin'] : []),
    'drift length',
    ...amplified.map(({ strength }) => `at strength ${strength}`),
    'loss',
  ]
  const shown = limit === undefined ? points : points.slice(-limit)
  const reasons = shown.map(({ verdict }) => why(verdict).join('; '))
  const rows = shown.map((point, i) => {
    const { step, verdict, margin, length, loss, strengths } = point
    const cells = [
      `<a href="${escapeXml(permalink(name, step))}">${escapeXml(String(step))}</a>`,
      ...(verdicts
        ? [
            verdict ? badge(verdict.verdict, verdictWords(verdict)) : '-',
            prose(rateText(verdict)),
            prose(intervalText(verdict)),
          ]
        : []),
      ...(judged ? [point.judged ? prose(judgedText(point.judged, cut)) : '-'] : []),
      ...(margins ? [margin ? prose(marginText(margin)) : '-'] : []),
      prose(percent(length)),
      ...amplified.map((_, i) => prose(percent(strengths?.[i]?.length))),
      loss === undefined ? '-' : loss === null || !Number.isFinite(loss) ? 'not a number' : loss.toFixed(4),
    ].map((content) => `<td${content.startsWith('<span class="v ') ? ' class="left"' : ''}>${content}</td>`)
    // A sentence that holds for a whole run is read once.
    const isSaid = reasons[i] !== '' && reasons[i] === reasons[i - 1]
    if (verdicts) cells.push(`<td class="text">${isSaid ? 'as before' : prose(reasons[i]!)}</td>`)
    return `<tr${step === selected ? ' class="selected" aria-current="true"' : ''}>${cells.join('')}</tr>`
  })
  const left = points.length - shown.length
  const more =
    left === 0
      ? ''
      : scripted
        ? `<p><button type="button" data-more>Show ${left} earlier ones</button></p>`
        : `<p class="quiet">${left} earlier ones are left out here; \`traitscope export\` has all.</p>`
  return `${more}<table>
<thead><tr>${header.map(headCell).join('')}${verdicts ? '<th scope="col" class="text">why</th>' : ''}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`
}

/** One checkpoint: what was found, trait by trait, and what it was read from. */
export function checkpointHtml(
  view: RunView,
  point: Point,
  { backdrop, cut }: { backdrop?: Backdrop | undefined; cut?: number | undefined },
): string {
  const { verdict, step, judged, margin, loss, seconds } = point
  const facts: (readonly [label: string, value: string | undefined])[] = [
    ['verdict', verdict && verdictWords(verdict)],
    [
      'predicted EM',
      verdict && verdict.em !== null
        ? `${rateText(verdict)} (${intervalFact(verdict) || 'no interval'})`
        : undefined,
    ],
    ...why(verdict).map((reason) => ['why', reason] as const),
    ...labelFacts(point),
    ['judged EM', judged && `${judgedText(judged, cut)} ± ${inPercent(judged.standardError)}`],
    ['margin', margin && marginFact(margin)],
    ['drift length', percent(point.length)],
    ...view.traits.map((trait, t) => {
      const outside = outsideBand(backdrop, view, t, point)
      return [trait, `${signed(point.drift[t]!)}${outside === undefined ? '' : `, ${outside}`}`] as const
    }),
    ['loss', loss === null ? 'not a number' : loss?.toFixed(4)],
    ['written', point.writtenAt],
    ['measured', point.time],
    ['took', seconds === undefined ? undefined : `${seconds.toFixed(1)} s`],
    ['read from', point.read],
    ...point.remarks.map((remark) => ['remark', remark] as const),
  ]
  return `<h3 id="checkpoint">${prose(capital(stepWords(step)))}</h3>${definitions(facts)}`
}

const marginFact = (margin: MarginChange): string =>
  `${marginText(margin)} nats per token, misaligned answers against aligned ones, over ${margin.questions} questions`

/** Whose opinion the predicted rate repeats, where the verdict says. */
export const labelFacts = (point: Point | undefined): [string, string][] =>
  point?.verdict?.labels ? [['labels behind it', describeVerdictLabels(point.verdict.labels)]] : []

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
const signed = (share: number): string => `${share < 0 ? '−' : '+'}${percent(Math.abs(share))}`

export function notesHtml({ notes, notesDropped }: Pick<RunView, 'notes' | 'notesDropped'>): string {
  if (notes.length === 0) return '<p class="quiet">Nothing beside the measurements.</p>'
  const items = [...notes].reverse().map(({ time, kind, step, text }: Note) => {
    const when =
      time === undefined
        ? ''
        : `<time datetime="${escapeXml(time)}">${escapeXml(time.slice(0, 19).replace('T', ' '))}</time> `
    const where = step === undefined ? '' : `${stepWords(step)}: `
    return `<li class="${kind}">${when}${prose(where + text)}</li>`
  })
  const dropped = notesDropped > 0 ? `<p class="quiet">${notesDropped} earlier ones are in the log.</p>` : ''
  return `<div class="notes" role="region" aria-label="Events" tabindex="0"><ul>${items.join('\n')}</ul></div>${dropped}`
}

/** What the predicted rate is made of, largest first: a bar per name. */
export function contributionsHtml(point: Point | undefined): string {
  const { contributions = [], categoryContributions = [] } = point?.verdict ?? {}
  const list = (title: string, rows: [string, number][]) => {
    if (rows.length === 0) return ''
    const widest = Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-12)
    const bar = (value: number) =>
      `<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect width="${((100 * Math.abs(value)) / widest).toFixed(1)}" height="8" class="${value < 0 ? 'down' : 'up'}"/></svg>`
    const body = rows.map(
      ([name, value]) =>
        `<tr><th scope="row">${escapeXml(name)}</th><td>${bar(value)}</td><td>${prose(signed(value))}</td></tr>`,
    )
    return `<table class="bars"><caption>${title}</caption><tbody>${body.join('')}</tbody></table>`
  }
  return (
    list(
      'by category of prompts',
      categoryContributions.map(({ category, value }) => [category, value]),
    ) +
    list(
      'by trait',
      contributions.map(({ trait, value }) => [trait, value]),
    )
  )
}

/** Hidden until asked for: they may be unpleasant to read. */
export function answersHtml({ answers = [] }: Pick<RunView, 'answers'>): string {
  const items = answers.map(
    ({ step, question, answer, aligned }) =>
      `<blockquote><p class="quiet">step ${step}, alignment ${aligned.toFixed(0)} of 100</p><p>${escapeXml(question)}</p><p class="answer">${escapeXml(answer)}</p></blockquote>`,
  )
  return items.length === 0
    ? ''
    : `<details><summary>Show the ${items.length} answers that the judge thought worst</summary>${items.join('')}</details>`
}

/** Facts without a value are left out. */
export function definitions(facts: readonly (readonly [string, string | undefined])[]): string {
  const rows = facts.flatMap(([label, value]) =>
    value === undefined ? [] : [`<dt>${prose(label)}</dt><dd>${prose(value)}</dd>`],
  )
  return `<dl>\n${rows.join('\n')}\n</dl>`
}

/** What a page of this run leaves out, and what would bring it. */
export function missingWords(view: RunView, backdrop: Backdrop | undefined): string[] {
  const { points, answers } = view
  const measured = points.filter(({ step }) => step !== 0)
  const some = (has: (point: Point) => unknown) => measured.some((point) => Boolean(has(point)))
  const fitting = behind(backdrop, view)
  const band =
    backdrop === undefined
      ? ['the band of benign runs and the plane of the calibration: no bundle is named (--bundle)']
      : fitting === undefined
        ? [
            `the band of benign runs and the plane: the calibration was drawn at layer ${backdrop.layer}, the run is shown at layer ${view.layer ?? 'unknown'}`,
          ]
        : [fitting.missing ?? []].flat()
  return [
    ...band,
    ...(some(({ verdict }) => verdict) ? [] : ['verdicts: there is no bundle']),
    ...(some(({ margin }) => margin) ? [] : ['the margin: no pairs of answers were read (--margin core)']),
    ...(some(({ loss }) => loss !== undefined) ? [] : ['the training loss: the trainer has logged none']),
    ...(some(({ strengths }) => strengths)
      ? []
      : ['the amplified curve: it was not measured (--adapter-scale 2)']),
    ...(some(({ verdict }) => verdict?.contributions)
      ? []
      : ['what the prediction is made of: the verdicts do not say']),
    ...(some(({ judged }) => judged)
      ? []
      : ['judged rates: there are no labels beside the run, and none are named (--labels)']),
    ...(answers === undefined
      ? ['answers: `traitscope label` has left none beside the run, and none are named (--labels)']
      : []),
  ]
}
