/** Whom a watch tells, by flags. Secrets come from the environment: `env:NAME` in place of a URL. */
import type { Command } from 'commander'
import { Option } from 'commander'
import { TraitscopeError } from '../lib/errors.js'
import { checkOutputFree } from '../lib/formats/files/atomic.js'
import type { Channel } from '../lib/notices/channel.js'
import { CommandChannel, checkProgram } from '../lib/notices/command-channel.js'
import { commandWords } from '../lib/notices/command-words.js'
import { FileChannel } from '../lib/notices/file-channel.js'
import { Heartbeat } from '../lib/notices/heartbeat.js'
import { NOTICE_LEVELS, type NoticeLevel } from '../lib/notices/notice.js'
import { Notices } from '../lib/notices/notices.js'
import { WEBHOOK_FORMATS, WebhookChannel, type WebhookFormat } from '../lib/notices/webhook-channel.js'
import { option, repeated, seconds, underHeading } from './options.js'
import type { Output } from './output.js'

export interface NoticeFlags {
  onAlarm?: string[]
  webhook?: string[]
  webhookFormat?: WebhookFormat
  notify: NoticeLevel
  stopFile?: string
  checkpointFile?: string
  coolDown: number
  overdue?: number
  heartbeat?: string
}

/** What telling people may take at the end before something is said. */
const SAY_MS = 2000

export function addNoticeOptions(command: Command): Command {
  return underHeading(command, 'Telling people and programs:', () =>
    command
      .addOption(
        option(
          '--on-alarm <command>',
          'run this at an alarm, the notice as JSON on stdin; no shell',
        ).argParser(repeated),
      )
      .addOption(
        option('--webhook <url>', 'post notices there, or to what env:NAME holds; repeatable').argParser(
          repeated,
        ),
      )
      .addOption(
        option('--webhook-format <name>', 'body of the posts (default: by the host)').choices(
          WEBHOOK_FORMATS,
        ),
      )
      .addOption(
        new Option('--notify <level>', 'least level of what is posted')
          .choices([...NOTICE_LEVELS])
          .default('warn'),
      )
      .addOption(option('--stop-file <file>', 'write this file at an alarm, for a trainer that looks for it'))
      .addOption(
        option(
          '--checkpoint-file <file>',
          'write this file at a warning or alarm, for a trainer that then saves',
        ),
      )
      .addOption(
        option('--cool-down <s>', 'seconds between two notices of the same trouble')
          .argParser(seconds)
          .default(3600),
      )
      .addOption(
        option(
          '--overdue <s>',
          'seconds without a checkpoint that are too many (default: four usual intervals)',
        ).argParser(seconds),
      )
      .addOption(option('--heartbeat <url>', 'call this URL every minute, or what env:NAME holds')),
  )
}

/**
 * Whether the files that ask something of a trainer can be written: an alarm is no time to learn that they cannot.
 *
 * @throws TraitscopeError FILE_EXISTS, FILE_ACCESS
 */
export async function checkRequestFiles({ stopFile, checkpointFile }: NoticeFlags): Promise<void> {
  for (const path of [stopFile, checkpointFile]) {
    if (path !== undefined) await checkOutputFree(path, { force: true })
  }
}

/** Notices and what goes with them; dispose it to deliver what is left. */
export class NoticesFromFlags implements AsyncDisposable {
  readonly notices: Notices
  readonly #output: Output
  readonly #heartbeat: Heartbeat | undefined

  /**
   * @param stateOf the state folder of a run, which always gets a file `stop` at an alarm
   * @throws USAGE for what cannot be a command or a URL, before anything is watched
   */
  constructor(flags: NoticeFlags, output: Output, stateOf: (run: string) => Promise<string | undefined>) {
    this.#output = output
    const { webhookFormat: format, stopFile, checkpointFile } = flags
    const token = process.env.TRAITSCOPE_WEBHOOK_TOKEN
    const channels: Channel[] = [
      new FileChannel(
        async (run) => {
          const folder = await stateOf(run)
          return folder === undefined ? undefined : stopFileIn(folder)
        },
        'stop file of the state',
        ['alarm'],
      ),
      ...(flags.onAlarm ?? []).map(commandChannel),
      ...(flags.webhook ?? []).map((url) => new WebhookChannel(secret(url), { format, token })),
    ]
    if (stopFile !== undefined)
      channels.push(new FileChannel(async () => stopFile, `stop file ${stopFile}`, ['alarm']))
    if (checkpointFile !== undefined) {
      channels.push(
        new FileChannel(async () => checkpointFile, `checkpoint file ${checkpointFile}`, ['alarm', 'warn']),
      )
    }
    this.notices = new Notices(channels, {
      least: flags.notify,
      coolDownMs: 1000 * flags.coolDown,
      overdueMs: flags.overdue === undefined ? undefined : 1000 * flags.overdue,
      stateOf,
      onTrouble: (text) => output.error(text),
      onDelay: ({ notice, channel, reason }) =>
        output.error(`not told ${channel} yet, ${reason}; it is tried again: ${notice.message}`),
      onDelivery: ({ notice, channel, isDelivered, tries, reason }) => {
        if (isDelivered) output.note(`told ${channel}: ${notice.message}`)
        else output.error(`not told ${channel} after ${tries} tries, ${reason}: ${notice.message}`)
      },
    })
    if (flags.heartbeat !== undefined) {
      this.#heartbeat = new Heartbeat(secret(flags.heartbeat), (reason) =>
        reason === undefined
          ? output.note('the heartbeat goes through again')
          : output.error(`the heartbeat does not go through: ${reason}`),
      )
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heartbeat?.[Symbol.dispose]()
    const late = setTimeout(
      () =>
        this.#output.note(
          'people are still being told, which takes a minute at most; a second Ctrl-C ends it',
        ),
      SAY_MS,
    )
    await this.notices.close()
    clearTimeout(late)
  }
}

function commandChannel(line: string): CommandChannel {
  const words = commandWords(line)
  checkProgram(words[0]!)
  return new CommandChannel(words, ['alarm'])
}

/** Of a run's state folder: what the trainer's callback looks for. */
const stopFileIn = (folder: string) => `${folder}/stop`

/** `env:NAME` keeps a secret out of the process list and the shell's history. */
function secret(text: string): string {
  const name = /^env:(.+)$/.exec(text)?.[1]
  if (name === undefined) return text
  const value = process.env[name]
  if (value === undefined || value === '') {
    throw new TraitscopeError(
      'USAGE',
      `expected the environment variable ${name} to hold a URL, found none; export it first`,
    )
  }
  return value
}
