/** A run as it stands, made of its events one by one. */
import type { Verdict } from '../detector/verdict.js'
import { backlogAfter } from '../events/backlog.js'
import type { LoggedEvent } from '../events/event-log.js'
import { fileFact } from '../formats/run/file-fact.js'
import { pairsWords } from '../labels/margins/margin-words.js'
import { stepOrder } from '../trajectory/step-order.js'
import type { Step } from '../trajectory/trajectory.js'
import { noteOf } from './event-notes.js'
import type { Note, Point, RunView } from './run-view.js'

/** Older notes are in the log. */
const NOTES = 200

/** Brings a run up to date; an event that it has seen changes nothing. */
export function applyEvent(view: RunView, event: LoggedEvent): void {
  if (event.seq <= view.seq) return
  view.seq = event.seq
  view.backlog = backlogAfter(view.backlog, event)
  switch (event.type) {
    case 'baseline':
      startWatch(view, event)
      break
    case 'checkpoint':
      addCheckpoint(view, event)
      break
    case 'revised': {
      const point = view.points.find(({ step }) => step === event.step)
      if (point) point.verdict = event.verdict
      break
    }
    case 'waiting':
      view.waiting = event.reason
      break
    case 'lost':
      view.lost++
      break
    case 'error':
      view.errors++
      break
    case 'end':
      view.ended = { time: event.time, reason: event.reason }
  }
  for (const note of noteOf(event)) push(view, { seq: event.seq, time: event.time, ...note })
}

type Logged<T extends LoggedEvent['type']> = Extract<LoggedEvent, { type: T }>

function startWatch(view: RunView, event: Logged<'baseline'>): void {
  const { traits, conditions, layers, verdict, time, seq, resumed } = event
  // Drifts of other directions, or judged by another detector, do not belong into one curve, nor do their alarms stand.
  if (view.conditions !== undefined && view.conditions !== conditions) {
    const before = view.points.length - 1
    view.points = []
    view.alarm = undefined
    delete view.alarmAt
    const text = `measured under other conditions from here on; ${before} earlier checkpoints are left out`
    if (before > 0) push(view, { time, seq, kind: 'note', text })
  }
  view.conditions = conditions
  // Raised under a watch of which nothing else is known here.
  if (resumed?.alarm === 'standing' && view.alarm !== 'raised') view.alarm = 'standing'
  view.traits = traits
  view.layers = layers
  view.facts = factsOf(event)
  if (layers.length === 1) view.layer = layers[0]!
  delete view.ended
  delete view.waiting
  setPoint(view, {
    step: 0,
    seq,
    time,
    drift: traits.map(() => 0),
    length: 0,
    remarks: [],
    ...(verdict && { verdict }),
  })
}

function addCheckpoint(view: RunView, event: Logged<'checkpoint'>): void {
  const { step, seq, time, writtenAt, primary, loss, verdict, margin, strengths, files, remarks, alarm } =
    event
  const { values, norm } = event.drift[primary]!
  setPoint(view, {
    step,
    seq,
    time,
    ...(writtenAt !== undefined && { writtenAt }),
    seconds: event.milliseconds / 1000,
    ...(loss !== undefined && { loss }),
    drift: values,
    length: norm,
    weights: event.adapterSha256,
    ...(verdict && { verdict }),
    ...(margin && { margin }),
    ...(strengths && {
      strengths: strengths.map((one) => ({ strength: one.strength, length: one.drift[primary]!.norm })),
    }),
    read: fileFact(files),
    remarks,
  })
  view.layer = view.layers[primary] ?? view.layer
  view.alarm = alarm ?? view.alarm
  if (alarm === 'raised' || (alarm === 'standing' && isItsStep(view, step, verdict))) view.alarmAt = step
  delete view.waiting
}

/** The newest may be measured first, and a log may have been begun anew: what comes then tells where an alarm began. */
function isItsStep({ alarmAt }: RunView, step: Step, verdict: Verdict | undefined): boolean {
  return alarmAt === undefined || (verdict?.verdict === 'alarm' && stepOrder(step) < stepOrder(alarmAt))
}

/** In its place by step; a step that is measured again is one point. */
function setPoint({ points }: RunView, point: Point): void {
  let at = points.length
  while (at > 0 && stepOrder(points[at - 1]!.step) >= stepOrder(point.step)) at--
  points.splice(at, points[at]?.step === point.step ? 1 : 0, point)
}

function push(view: RunView, note: Note): void {
  view.notes.push(note)
  if (view.notes.length <= NOTES) return
  view.notes.shift()
  view.notesDropped++
}

function factsOf(event: Logged<'baseline'>) {
  const { layers, activationNorms, tokens, noiseFloor, margin, conditions } = event
  const list = (values: readonly number[]) => values.map((value) => value.toPrecision(4)).join(', ')
  const facts: [string, string][] = [
    ['layers measured', `${layers.join(', ')} (0-based block outputs)`],
    ['step-0 norm per layer', list(activationNorms)],
    ['prompt tokens', `${tokens.total}, ${tokens.computed} computed`],
    ['conditions', conditions],
  ]
  if (margin) facts.push(['margin', pairsWords(margin)])
  if (noiseFloor)
    facts.push(['drift that rounding alone makes', list(noiseFloor.layers.map(({ drift }) => drift))])
  return facts
}
