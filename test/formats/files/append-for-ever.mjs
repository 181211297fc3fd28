// Appends numbered records of very different sizes, several at a time, and says how many are on the disk, until killed.
import { writeSync } from 'node:fs'
import { AppendLog } from '../../../dist/lib/formats/files/append-log.js'

const log = await AppendLog.open(process.argv[2], { key: ({ id }) => id, parse: (value) => value })
let next = log.records.size
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (;;) {
      const id = next++
      await log.append({ id: String(id), text: 'x'.repeat(1 + ((id * 7919) % 20_000)) })
      writeSync(1, `${id + 1}\n`)
    }
  }),
)
