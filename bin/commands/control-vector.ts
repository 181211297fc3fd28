import { Command } from 'commander'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { checkOutputFree } from '../../lib/formats/files/atomic.js'
import { writeControlVector } from '../../lib/steering/control-vector-file.js'
import { steeringVector } from '../../lib/steering/steering-vector.js'
import { notes } from '../help.js'
import { addOutputOptions, integerList, option } from '../options.js'
import { createOutput } from '../output.js'
import { layersText } from '../text.js'

interface Flags {
  trait: string
  layer?: number[]
  out: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

/** `traitscope control-vector`: a direction as llama.cpp's tools take it. */
export function controlVectorCommand(): Command {
  const command = new Command('control-vector')
    .description("write a trait's direction as a control-vector GGUF, for llama.cpp and for steer")
    .argument('<directions>', 'folder made by `traitscope directions`')
    .requiredOption('--trait <name>', 'whose direction')
    .addOption(
      option('-l, --layer <n[,n]>', 'blocks to write, 0-based (default: all of the folder)').argParser(
        integerList,
      ),
    )
    .requiredOption('-o, --out <file>', 'GGUF to write')
    .option('--force', 'replace an existing file')
    .addHelpText(
      'after',
      notes(`
A vector is as long as the mean state at its block, so the scale that llama.cpp is given is the dose: 0.1 adds a tenth of a
state's length. Where it comes from is in the metadata.

Example:
  $ traitscope control-vector directions --trait honesty --layer 14 -o honesty.gguf
  $ llama-cli -m base.gguf --control-vector-scaled honesty.gguf:0.1`),
    )
  return addOutputOptions(command).action(async (folder: string, flags: Flags) => {
    const output = createOutput(flags)
    const { out, trait, force = false } = flags
    await checkOutputFree(out, { force, inputs: [folder] })
    const vector = steeringVector(await loadDirections(folder), trait, flags.layer)
    await writeControlVector(vector, out, { force })
    const layers = [...vector.vectors.keys()]
    if (flags.json) return output.json({ out, trait, layers, unit: vector.unit, origin: vector.origin })
    output.print(
      `${out}: ${trait} at ${layersText(layers)}; a scale of 1 is the length of a mean state there`,
    )
  })
}
