import { join } from 'node:path'
import { asTraitscopeError, isTraitscopeError, TraitscopeError } from '../errors.js'
import type { BaselineEvent, EndEvent, EventStamp, WatchEvent } from '../events/watch-events.js'
import { AppendLog, readLog } from '../formats/files/append-log.js'
import { isJsonObject } from '../formats/json/json.js'
import { isText } from '../formats/json/json-fields.js'
import type { Channel } from './channel.js'
import { type Delivery, Dispatcher, type DispatcherOptions } from './dispatcher.js'
import type { Notice, NoticeKind } from './notice.js'
import { NoticePolicy, type NoticePolicyOptions } from './notice-policy.js'

/** What people were told of a run, in its state folder. */
export const NOTICES_FILE = 'notices.jsonl'

/** A line of {@link NOTICES_FILE}. */
interface Told {
  kind: NoticeKind
  channel: string
  time: string
  isDelivered: boolean
  notice: Notice
}

export interface NoticesOptions extends NoticePolicyOptions, Omit<DispatcherOptions, 'onDelivery'> {
  /** Folder that remembers what was told of a run, so that a watch that begins anew does not tell it again. */
  stateOf?: ((run: string) => Promise<string | undefined>) | undefined
  /** How every delivery ended. */
  onDelivery?: ((delivery: Delivery) => void) | undefined
  /** A notice did not go through at first. */
  onDelay?: DispatcherOptions['onDelay']
  /** A sentence on why it cannot be remembered who was told; it goes on without. */
  onTrouble?: ((text: string) => void) | undefined
  /** Between two looks at the clock, in ms; default 5000. */
  tickMs?: number | undefined
}

interface WatchedRun {
  policy: NoticePolicy
  folder: string | undefined
  /** What watches before this one have told. */
  told: ReadonlyMap<string, Told>
}

/** Tells people of what happens to runs that are watched. Give it every event; close it when the watch is over. */
export class Notices implements AsyncDisposable {
  readonly #runs = new Map<string, Promise<WatchedRun>>()
  readonly #options: NoticesOptions
  readonly #dispatcher: Dispatcher
  readonly #timer: NodeJS.Timeout
  #writing: Promise<unknown> = Promise.resolve()
  #trouble: string | undefined

  constructor(
    private readonly channels: readonly Channel[],
    options: NoticesOptions = {},
  ) {
    this.#options = options
    this.#dispatcher = new Dispatcher(channels, {
      ...options,
      onDelivery: (delivery) => {
        this.#writing = this.#writing.then(() => this.#remember(delivery))
        options.onDelivery?.(delivery)
      },
    })
    this.#timer = setInterval(() => void this.#tick(), options.tickMs ?? 5000).unref()
  }

  /** @param event with the run that it is about; of those that are about none, the end of all alone is told */
  async take(event: WatchEvent & EventStamp): Promise<void> {
    if (event.run === undefined) {
      // The end of several runs is that of each.
      if (event.type === 'end') for (const run of [...this.#runs.keys()]) await this.#end(event, run)
      return
    }
    const { policy } = await this.#run(event.run)
    const now = event.time === undefined ? Date.now() : Date.parse(event.time)
    if (event.type === 'baseline' && event.resumed?.alarm === 'standing')
      this.#tellUntold(event, await this.#run(event.run), now)
    for (const request of policy.requests(event, now)) this.#dispatcher.request(request)
    for (const notice of policy.take(event, now)) this.#dispatcher.send(notice)
  }

  /** A watch may have been killed before it could tell of an alarm, or told some and not others. */
  #tellUntold(event: BaselineEvent, { policy, told }: WatchedRun, now: number): void {
    const since = event.resumed?.raised ? Date.parse(event.resumed.raised.time) : Number.NEGATIVE_INFINITY
    const isTold = ({ name }: Channel) => {
      const last = told.get(keyOf({ kind: 'alarm', channel: name }))
      return last?.isDelivered === true && Date.parse(last.time) >= since
    }
    if (this.channels.every(isTold)) return
    this.#dispatcher.send(policy.stands(event, now), (channel) => !isTold(channel))
  }

  async #end(event: EndEvent, run: string): Promise<void> {
    const { policy } = await this.#run(run)
    await this.take({ ...event, run, measured: policy.measured })
  }

  async close(graceMs?: number): Promise<void> {
    clearInterval(this.#timer)
    await this.#dispatcher.close(graceMs)
    await this.#writing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #run(run: string): Promise<WatchedRun> {
    const known = this.#runs.get(run)
    if (known) return known
    const opened = this.#open(run)
    this.#runs.set(run, opened)
    return opened
  }

  async #open(run: string): Promise<WatchedRun> {
    const folder = await this.#options.stateOf?.(run)
    const told = folder === undefined ? new Map<string, Told>() : await this.#toldIn(folder)
    const alarms = [...told.values()].filter(({ kind, isDelivered }) => kind === 'alarm' && isDelivered)
    const toldOfAlarmAt =
      alarms.length === 0 ? undefined : Math.max(...alarms.map(({ time }) => Date.parse(time)))
    return { policy: new NoticePolicy(run, this.#options, toldOfAlarmAt), folder, told }
  }

  /** Nothing where it cannot be read: people are told all the same. */
  async #toldIn(folder: string): Promise<ReadonlyMap<string, Told>> {
    try {
      return await readLog<Told>(join(folder, NOTICES_FILE), LOG)
    } catch (error) {
      if (!isTraitscopeError(error, 'FILE_NOT_FOUND')) this.#forgets(error)
      return new Map()
    }
  }

  /**
   * Opens the file for this one notice: they are rare, runs may be many, and whoever rotates logs may take it away in between.
   * What cannot be remembered is told again by the next watch, which is the lesser evil.
   */
  async #remember({ notice, channel, isDelivered }: Delivery): Promise<void> {
    const { folder } = await this.#run(notice.run)
    if (folder === undefined) return
    try {
      await using log = await AppendLog.open<Told>(join(folder, NOTICES_FILE), LOG)
      await log.append({ kind: notice.kind, channel, time: notice.time, isDelivered, notice })
    } catch (error) {
      this.#forgets(error)
    }
  }

  /** Says so, once for the same reason. */
  #forgets(error: unknown): void {
    const { message } = asTraitscopeError(error, `opening ${NOTICES_FILE}`)
    if (this.#trouble === message) return
    this.#trouble = message
    this.#options.onTrouble?.(`who was told is not remembered, and may be told again: ${message}`)
  }

  async #tick(): Promise<void> {
    for (const run of this.#runs.values()) {
      const { policy } = await run
      for (const notice of policy.tick(Date.now())) this.#dispatcher.send(notice)
    }
  }
}

const keyOf = ({ kind, channel }: Pick<Told, 'kind' | 'channel'>) => JSON.stringify([kind, channel])

function parse(value: object, where: string): Told {
  if (isJsonObject(value) && isText(value.kind) && isText(value.channel) && isText(value.time)) {
    return value as unknown as Told
  }
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected a notice in ${where}; it was written by something else, move it away`,
  )
}

const LOG = { key: keyOf, parse }
