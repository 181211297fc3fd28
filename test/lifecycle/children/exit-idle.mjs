// Ends by itself with a model and an adapter still open: nothing keeps the process alive, nothing crashes.
import { hiddenStates, openModel } from '../../../dist/lib/index.js'

const model = await openModel(process.argv[2])
const adapter = await model.attach(process.argv[3])
const { data } = await hiddenStates(model, [Int32Array.of(5, 6, 7)], { layers: [0], adapter })
console.log(data.length)
