import { describe, expect, it } from 'vitest'
import { type Channel, Undelivered } from '../../lib/notices/channel.js'
import { CommandChannel } from '../../lib/notices/command-channel.js'
import { type Delivery, Dispatcher } from '../../lib/notices/dispatcher.js'
import type { Notice, NoticeLevel } from '../../lib/notices/notice.js'

const notice = (step: number, level: NoticeLevel = 'alarm') => ({ step, level, kind: 'alarm' }) as Notice

/** Fails as told, then works; remembers what came. */
class FakeChannel implements Channel {
  readonly got: number[] = []
  constructor(
    readonly name: string,
    private readonly failures: (Error | undefined)[] = [],
    readonly tries = 4,
  ) {}
  async send({ step }: Notice): Promise<void> {
    this.got.push(step as number)
    const failure = this.failures.shift()
    if (failure) throw failure
  }
}

async function dispatch(
  channels: Channel[],
  notices: Notice[],
  { least, all = notices.length * channels.length }: { least?: NoticeLevel; all?: number } = {},
): Promise<Delivery[]> {
  const deliveries: Delivery[] = []
  const dispatcher = new Dispatcher(channels, {
    least,
    retryMs: 1,
    onDelivery: (one) => deliveries.push(one),
  })
  for (const one of notices) dispatcher.send(one)
  while (deliveries.length < all) await new Promise((resolve) => setTimeout(resolve, 5))
  await dispatcher.close()
  return deliveries
}

describe('Dispatcher', () => {
  it('should try again, keep the order of each channel, and let no channel hold back another', async () => {
    const slow = new FakeChannel('slow', [new Undelivered('503'), new Error('reset')])
    const fast = new FakeChannel('fast')
    const deliveries = await dispatch([slow, fast], [notice(1), notice(2)])
    expect(slow.got).toEqual([1, 1, 1, 2])
    expect(fast.got).toEqual([1, 2])
    expect(
      deliveries.map(({ channel, notice: { step }, isDelivered, tries }) => [
        channel,
        step,
        isDelivered,
        tries,
      ]),
    ).toEqual(
      expect.arrayContaining([
        ['fast', 1, true, 1],
        ['slow', 1, true, 3],
        ['slow', 2, true, 1],
      ]),
    )
    expect(deliveries[0]).toMatchObject({ channel: 'fast' })
  })

  it('should say what was not delivered, and go on', async () => {
    const refused = new FakeChannel('refused', [new Undelivered('403', { isFinal: true })])
    const dead = new FakeChannel(
      'dead',
      Array.from({ length: 4 }, () => new Undelivered('down')),
    )
    const deliveries = await dispatch([refused, dead], [notice(1), notice(2)])
    const failures = deliveries.filter(({ isDelivered }) => !isDelivered)
    expect(failures.map(({ channel, tries, reason }) => [channel, tries, reason]).sort()).toEqual([
      ['dead', 4, 'down'],
      ['refused', 1, '403'],
    ])
    expect(refused.got).toEqual([1, 2])
    expect(dead.got).toEqual([1, 1, 1, 1, 2])
  })

  it('should say at once that a notice is delayed, and say it once', async () => {
    const delays: object[] = []
    const slow = new FakeChannel('slow', [new Undelivered('503'), new Undelivered('502')])
    const dispatcher = new Dispatcher([slow], { retryMs: 1, onDelay: (one) => delays.push(one) })
    dispatcher.send(notice(1))
    while (slow.got.length < 3) await new Promise((resolve) => setTimeout(resolve, 5))
    await dispatcher.close()
    expect(delays).toEqual([{ notice: notice(1), channel: 'slow', reason: '503' }])
  })

  it('should let a program that was begun come to its end', async () => {
    const deliveries: Delivery[] = []
    const program = new CommandChannel([process.execPath, '-e', 'setTimeout(() => {}, 300)'])
    const dispatcher = new Dispatcher([program], { onDelivery: (one) => deliveries.push(one) })
    dispatcher.send(notice(1))
    dispatcher.send(notice(2))
    await dispatcher.close(20)
    expect(deliveries).toMatchObject([
      { notice: { step: 1 }, isDelivered: true },
      { notice: { step: 2 }, isDelivered: false, reason: 'the watch has ended' },
    ])
  })

  it('should send what is important enough, and what a channel takes', async () => {
    const picky = Object.assign(new FakeChannel('picky'), { accepts: ({ step }: Notice) => step === 2 })
    await dispatch([picky], [notice(1), notice(2, 'info'), notice(2, 'warn')], { all: 1 })
    expect(picky.got).toEqual([2])
    const all = new FakeChannel('all')
    await dispatch([all], [notice(1, 'info')], { least: 'info' })
    expect(all.got).toEqual([1])
  })

  it('should end in time when a channel never answers', async () => {
    const deliveries: Delivery[] = []
    const hanging: Channel = {
      name: 'hanging',
      tries: 5,
      send: (_, signal) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(new Undelivered('stopped'))),
        ),
    }
    const dispatcher = new Dispatcher([hanging], { onDelivery: (one) => deliveries.push(one) })
    dispatcher.send(notice(1))
    dispatcher.send(notice(2))
    await dispatcher.close(20)
    expect(deliveries).toMatchObject([
      { notice: { step: 1 }, isDelivered: false, reason: 'stopped' },
      { notice: { step: 2 }, isDelivered: false, reason: 'the watch has ended' },
    ])
  })
})
