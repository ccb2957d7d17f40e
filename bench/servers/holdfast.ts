import { buildApp } from '../../src/server/app.js'
import { optionsFromEnvironment, resolveConfig } from '../../src/config.js'
import { serve } from './child.js'

// The server as `holdfast start` builds it, with a line to the bench that asks what it uses.
const app = await buildApp(resolveConfig(optionsFromEnvironment(process.env)))
await serve((at) => app.listen(at))
