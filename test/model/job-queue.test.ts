import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { JobQueue } from '../../lib/model/job-queue.js'

describe('JobQueue', () => {
  it('should let any number of jobs wait with one signal, without a warning, and leave nothing on it', async () => {
    const warnings: string[] = []
    const hear = ({ message }: Error) => warnings.push(message)
    process.on('warning', hear)
    try {
      const queue = new JobQueue()
      const { signal } = new AbortController()
      const jobs = Array.from({ length: 30 }, (_, i) => queue.run(async () => i, signal))
      expect(await Promise.all(jobs)).toEqual(jobs.map((_, i) => i))
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(warnings).toEqual([])
      expect(getEventListeners(signal, 'abort')).toEqual([])
    } finally {
      process.off('warning', hear)
    }
  })

  it('should take an aborted job out of the queue, and run the others', async () => {
    const queue = new JobQueue()
    const stop = new AbortController()
    const ran: number[] = []
    const jobs = [undefined, stop.signal, undefined].map((signal, i) =>
      queue.run(async () => void ran.push(i), signal),
    )
    stop.abort(new Error('mine'))
    await expect(jobs[1]).rejects.toMatchObject({ code: 'ABORTED', cause: { message: 'mine' } })
    await Promise.all([jobs[0], jobs[2]])
    expect(ran).toEqual([0, 2])
  })
})
