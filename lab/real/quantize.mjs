// node lab/real/quantize.mjs FROM.gguf TO.gguf TYPE: llama.cpp's own quantisation of an F32 file.
import { binding } from '../../dist/lib/binding.js'

const [from, to, type] = process.argv.slice(2)
await binding().quantize(from, to, type, 1)
